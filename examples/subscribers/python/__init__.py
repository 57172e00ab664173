"""The automation with `AlertSubscriber`."""

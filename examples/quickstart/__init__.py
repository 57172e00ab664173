"""The smallest whole: a publisher, a configuration, a subscriber. See README.md beside this."""

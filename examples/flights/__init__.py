"""The flights demo: a real model on real flights, in real event time, watched by Stream Monitor.

Run it with `make demo` or `python -m examples.flights`. In the order the data flow:

    clock.py     local clock times to UTC, and when a flight landed
    data.py      the 2013 New York flights and weather, as columns in order of departure
    features.py  what is known at the moment of departure, and nothing later
    model.py     a small online model (river), trained on January, then frozen
    playback.py  what is due when: departures and landings, many days a second
    serving.py   the model server: predictions at departure, labels at landing
    stage.py     the processes: an embedded Kafka and one worker, started, watched, ended
    findings.py  alerts and metrics, read back and put into plain words
    __main__.py  the demo from first line to last
"""

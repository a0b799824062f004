from labc.wire.heartbeat import Action, Heartbeat


def run(heartbeat: Heartbeat, now: float, until: float, heard: tuple[float, ...] = ()) -> list[tuple[float, Action]]:
    """Look whenever it asks to, until it gives up or the time is over."""
    actions = []
    times = list(heard)
    while now <= until:
        while times and times[0] <= now:
            heartbeat.heard(times.pop(0))
        action = heartbeat.next(now)
        actions.append((now, action))
        if action.lost:
            break
        now = action.at
    return actions


def test_a_silent_peer_is_asked_each_interval_and_then_lost() -> None:
    actions = run(Heartbeat(1.0, 4.0, now=100.0), 100.0, 200.0)
    assert [at for at, action in actions if action.ping] == [101.0, 102.0, 103.0]
    assert actions[-1][1].lost
    assert actions[-1][0] == 104.0


def test_a_peer_that_does_not_answer_is_quiet_until_it_is_heard_again() -> None:
    actions = run(Heartbeat(1.0, 4.0, now=0.0), 0.0, 6.5, heard=(3.5,))
    quiet = [at for at, action in actions if action.quiet]
    assert quiet == [2.0, 3.0, 5.5, 6.5]


def test_our_own_absence_does_not_make_the_peer_quiet() -> None:
    heartbeat = Heartbeat(1.0, 4.0, now=0.0)
    heartbeat.next(heartbeat.next(0.0).at)
    assert not heartbeat.next(1000.0).quiet
    assert [at for at, action in run(heartbeat, 1001.0, 1002.5) if action.quiet] == [1001.0, 1002.0]


def test_a_peer_that_is_heard_is_not_asked() -> None:
    heard = tuple(100 + n / 2 for n in range(40))
    actions = run(Heartbeat(1.0, 4.0, now=100.0), 100.0, 119.0, heard)
    assert not any(action.ping or action.lost for _, action in actions)


def test_an_answer_restarts_the_silence() -> None:
    actions = run(Heartbeat(1.0, 4.0, now=0.0), 0.0, 50.0, heard=(3.5,))
    assert actions[-1][1].lost
    assert actions[-1][0] == 7.5


def test_our_own_absence_is_not_counted_against_the_peer() -> None:
    heartbeat = Heartbeat(1.0, 4.0, now=0.0)
    heartbeat.next(0.0)
    action = heartbeat.next(1000.0)
    assert action.ping
    assert not action.lost
    actions = run(heartbeat, action.at, 2000.0)
    assert actions[-1][1].lost
    assert actions[-1][0] == 1004.0


def test_being_a_little_late_is_counted() -> None:
    heartbeat = Heartbeat(1.0, 4.0, now=0.0)
    now = 0.0
    for _ in range(20):
        action = heartbeat.next(now)
        if action.lost:
            break
        now = action.at + 0.9
    assert action.lost
    assert now <= 5.0


def test_it_never_asks_to_be_called_at_once() -> None:
    heartbeat = Heartbeat(0.0, 0.0, now=0.0)
    assert heartbeat.next(0.0).at > 0.0
    heartbeat = Heartbeat(1.0, 4.0, now=1e9)
    now = 1e9
    for _ in range(100):
        action = heartbeat.next(now)
        assert action.at > now
        now = action.at

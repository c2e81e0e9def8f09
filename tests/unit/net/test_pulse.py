from ktpy.net.pulse import Pulse


def beats(*ticks: tuple[float, int]) -> list[bool]:
    pulse = Pulse(5, misses=3)
    return [pulse.beats(now, heard) for now, heard in ticks]


def test_three_questions_without_any_answer_are_the_end() -> None:
    assert beats((5, 0), (10, 0), (15, 0), (20, 0)) == [True, True, True, False]


def test_any_byte_starts_the_count_anew() -> None:
    assert beats((5, 0), (10, 0), (15, 0), (20, 1), (25, 1), (30, 1), (35, 1)) == [True] * 6 + [False]


def test_a_laptop_that_slept_is_asked_again_before_it_is_judged() -> None:
    assert beats((5, 0), (10, 0), (15, 0), (135, 0), (140, 0), (145, 0), (150, 0)) == [True] * 6 + [False]

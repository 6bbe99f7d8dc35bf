from services.sensor_reader.options import CounterOptions, SensorOptions, SensorReader
from tests.samples import assert_sample_tells_the_truth, documented, fields


def test_the_sample_documents_every_option_with_its_true_default() -> None:
    assert_sample_tells_the_truth(SensorReader, "sensor_reader")


def test_every_option_of_a_sensor_and_a_counter_is_in_the_sample() -> None:
    whole = documented("sensor_reader")
    (choice,) = whole["sensors"].values()
    assert set(choice) == fields(SensorOptions)
    assert set(whole["counters"][0]) == fields(CounterOptions)

from services.modbus_poller import models
from services.modbus_poller.options import Device, Line, ModbusPoller
from tests.samples import assert_sample_tells_the_truth, documented, fields, sections


def test_the_sample_documents_every_option_with_its_true_default() -> None:
    assert_sample_tells_the_truth(ModbusPoller, "modbus_poller")


def test_every_option_of_a_line_and_a_device_is_in_the_sample() -> None:
    lines = documented("modbus_poller")["lines"]
    assert set(lines[0]) == fields(Line)
    assert set(lines[0]["devices"][0]) == fields(Device)


def test_the_sample_names_every_model() -> None:
    shipped, _ = sections("modbus_poller")
    assert ", ".join(models.names()) in shipped

"""Any text has one name or is refused, and no two texts share a name unnoticed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph import names, names_before, topics
from heliograph.errors import ConfigError
from heliograph.names import NameOwners, NameTaken

TEXTS = st.text(max_size=100) | st.text("aB1_ .-ü", max_size=100) | st.text(max_size=5).map(lambda text: text * 400)
VALID = st.from_regex("[a-z0-9_]{1,64}", fullmatch=True)
VALID_DEVICES = st.from_regex("[a-z0-9_][a-z0-9_-]{0,62}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ApparentPower", "apparent_power"),
        ("PM2.5", "pm2_5"),
        ("pv1Voltage", "pv1_voltage"),
        ("PvVoltage", "pv_voltage"),
        ("ACPower", "ac_power"),
        ("BatterySOC", "battery_soc"),
        ("SOC", "soc"),
        ("kWh", "kwh"),
        ("kWhToday", "kwh_today"),
        ("eToday", "e_today"),
        ("kVArh", "kvarh"),
        ("dBm", "dbm"),
        ("DS18B20.Temperature", "ds18b20_temperature"),
        ("Temp °C", "temp_deg_c"),
        ("Küche", "kuche"),
        ("电力", "dian_li"),
        ("_private", "_private"),
    ],
)
def test_a_channel_is_called_as_one_would_write_it(text: str, name: str) -> None:
    assert names.channel(text) == name


def test_a_device_keeps_its_hyphens_and_its_words_in_one() -> None:
    assert names.device("Küche/Plug-S 1") == "kuche_plug-s_1"
    assert names.device("ShellyPlug-AB12") == "shellyplug-ab12"


@given(text=TEXTS)
def test_a_name_is_valid_or_the_text_is_refused(text: str) -> None:
    for rule in (names.PRESENT, names_before.PLAIN, names_before.CUT, names_before.HUMPED):
        for name_of, is_one in ((rule.channel, topics.is_channel), (rule.device, topics.is_name)):
            try:
                assert is_one(name_of(text))
            except ValueError:
                continue


@given(channel=VALID, device=VALID_DEVICES)
def test_a_valid_name_is_not_changed(channel: str, device: str) -> None:
    assert names.channel(channel) == channel
    assert names.device(device) == device
    assert names_before.CUT.channel(channel) == channel, "imports have never changed one"


@given(one=TEXTS, other=TEXTS, head=st.text("abcÄ", min_size=70, max_size=2000))
def test_long_texts_that_differ_have_names_that_differ(one: str, other: str, head: str) -> None:
    if one != other:
        assert names.channel(head + one) != names.channel(head + other)
        assert names.device(head + one) != names.device(head + other)


@given(texts=st.lists(TEXTS, min_size=2, max_size=20))
def test_no_two_texts_share_a_name(texts: list[str]) -> None:
    owners = NameOwners(1000)
    owner: dict[str, str] = {}
    for text in texts:
        try:
            name = names.channel(text)
            owners.claim(name, text)
        except ValueError:
            continue
        assert owner.setdefault(name, text) == text


def test_a_second_text_with_the_name_of_another_is_refused_until_that_one_no_longer_comes() -> None:
    owners = NameOwners(10)
    owners.claim("power_1", "Power 1")
    for _ in range(2 * names.PATIENCE):
        with pytest.raises(NameTaken, match=r"'power_1' would be called power_1, which is the name of 'Power 1'"):
            owners.claim("power_1", "power_1")
        owners.claim("power_1", "Power 1")
    for _ in range(names.PATIENCE):
        with pytest.raises(NameTaken):
            owners.claim("power_1", "power_1")
    owners.claim("power_1", "power_1")
    with pytest.raises(NameTaken, match="'Power 1' would be called"):
        owners.claim("power_1", "Power 1")


def test_long_texts_with_the_same_beginning_are_distinguished() -> None:
    owners = NameOwners(10)
    owners.claim("a", "a" * 1000)
    owners.claim("a", "a" * 1000)
    with pytest.raises(NameTaken):
        owners.claim("a", "a" * 1001)


def test_the_memory_is_bounded() -> None:
    owners = NameOwners(3)
    for number in range(10):
        owners.claim(f"power_{number}", f"Power {number}")
    owners.claim("power_0", "power_0")
    with pytest.raises(NameTaken):
        owners.claim("power_9", "power_9")


def test_a_new_folder_follows_the_present_rule_and_an_old_one_its_own(tmp_path: Path) -> None:
    (tmp_path / "outbox" / "serial_bridge").mkdir(parents=True)
    for _ in range(2):
        assert names.rule_of(tmp_path, "serial_bridge", names_before.PLAIN) is names_before.PLAIN
        assert names.rule_of(tmp_path, "mqtt_importer", names_before.HUMPED) is names.PRESENT
        (tmp_path / "outbox" / "mqtt_importer").mkdir(exist_ok=True)
    (tmp_path / "serial_bridge" / "names.json").write_text('{"rule": 2}')
    assert names.rule_of(tmp_path, "serial_bridge", names_before.PLAIN) is names.PRESENT


@pytest.mark.parametrize("content", ["", "{", '{"rule": 3}', '{"rule": 2, "more": 1}'])
def test_a_folder_with_an_unknown_rule_is_not_used(tmp_path: Path, content: str) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "names.json").write_text(content)
    with pytest.raises(ConfigError, match=r"api/names\.json"):
        names.rule_of(tmp_path, "api", names_before.PLAIN)


def test_the_former_rules_spell_as_they_did() -> None:
    plain, humped = names_before.PLAIN, names_before.HUMPED
    assert [plain.channel(text) for text in ("Küche", "ApparentPower", "_a")] == ["k_che", "apparentpower", "a"]
    assert [humped.channel(text) for text in ("Küche", "ApparentPower", "kWh")] == ["kuche", "apparent_power", "k_wh"]
    assert plain.device("Küche 1") == "k_che_1"
    assert plain.channel("ö" * 70) == names.channel("ö" * 70), "of what had no name, the present rule makes one"

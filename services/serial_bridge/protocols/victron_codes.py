"""The codes in VE.Direct texts: products, states, errors ("VE.Direct Protocol" 3.33, Victron Energy)."""

_BLUE = "BlueSolar MPPT "
_SMART = "SmartSolar MPPT "
PRODUCTS = {
    0x203: "BMV-700",
    0x204: "BMV-702",
    0x205: "BMV-700H",
    0x300: _BLUE + "70/15",
    0xA040: _BLUE + "75/50",
    0xA041: _BLUE + "150/35",
    0xA042: _BLUE + "75/15",
    0xA043: _BLUE + "100/15",
    0xA044: _BLUE + "100/30",
    0xA045: _BLUE + "100/50",
    0xA046: _BLUE + "150/70",
    0xA047: _BLUE + "150/100",
    0xA049: _BLUE + "100/50 rev2",
    0xA04A: _BLUE + "100/30 rev2",
    0xA04B: _BLUE + "150/35 rev2",
    0xA04C: _BLUE + "75/10",
    0xA04D: _BLUE + "150/45",
    0xA04E: _BLUE + "150/60",
    0xA04F: _BLUE + "150/85",
    0xA050: _SMART + "250/100",
    0xA051: _SMART + "150/100",
    0xA052: _SMART + "150/85",
    0xA053: _SMART + "75/15",
    0xA054: _SMART + "75/10",
    0xA055: _SMART + "100/15",
    0xA056: _SMART + "100/30",
    0xA057: _SMART + "100/50",
    0xA058: _SMART + "150/35",
    0xA059: _SMART + "150/100 rev2",
    0xA05A: _SMART + "150/85 rev2",
    0xA05B: _SMART + "250/70",
    0xA05C: _SMART + "250/85",
    0xA05D: _SMART + "250/60",
    0xA05E: _SMART + "250/45",
    0xA05F: _SMART + "100/20",
    0xA060: _SMART + "100/20 48V",
    0xA061: _SMART + "150/45",
    0xA062: _SMART + "150/60",
    0xA063: _SMART + "150/70",
    0xA064: _SMART + "250/85 rev2",
    0xA065: _SMART + "250/100 rev2",
    0xA381: "BMV-712 Smart",
    0xA382: "BMV-710H Smart",
    0xA383: "BMV-712 Smart rev2",
    0xA389: "SmartShunt 500A/50mV",
    0xA38A: "SmartShunt 1000A/50mV",
    0xA38B: "SmartShunt 2000A/50mV",
}
# Phoenix inverters are numbered in tens by their power, within a ten by voltage.
_PHOENIX = {
    0xA23: "250VA",
    0xA24: "375VA",
    0xA25: "500VA",
    0xA26: "800VA",
    0xA27: "1200VA",
    0xA20: "250VA",
    0xA21: "375VA",
    0xA22: "500VA",
}
_PHOENIX_VOLTS = {1: "12V 230V", 2: "24V 230V", 4: "48V 230V", 9: "12V 120V", 10: "24V 120V", 12: "48V 120V"}
STATES = {
    0: "off",
    1: "low power",
    2: "fault",
    3: "bulk",
    4: "absorption",
    5: "float",
    6: "storage",
    7: "equalise",
    9: "inverting",
    11: "power supply",
    245: "starting",
    246: "repeated absorption",
    247: "auto equalise",
    248: "battery safe",
    252: "external control",
}
TRACKERS = {0: "off", 1: "limited", 2: "active"}
MODES = {1: "charger", 2: "inverter", 4: "off", 5: "eco", 253: "hibernate"}
ERRORS = {
    0: "no error",
    2: "battery voltage too high",
    17: "charger temperature too high",
    18: "charger over current",
    19: "charger current reversed",
    20: "bulk time limit exceeded",
    21: "current sensor issue",
    26: "terminals overheated",
    28: "converter issue",
    33: "input voltage too high",
    34: "input current too high",
    38: "input shutdown, battery voltage too high",
    39: "input shutdown, current flows while off",
    65: "lost communication with one of the devices",
    66: "synchronised charging configuration issue",
    67: "BMS connection lost",
    68: "network misconfigured",
    116: "factory calibration data lost",
    117: "invalid firmware",
    119: "user settings invalid",
}


def product(number: int) -> str:
    """Return the name of the product with this PID."""
    if number in PRODUCTS:
        return PRODUCTS[number]
    power, volts = _PHOENIX.get(number >> 4), _PHOENIX_VOLTS.get(number & 15)
    if power and volts:
        return f"Phoenix Inverter {volts.split()[0]} {power} {volts.split()[1]}"
    return f"Victron device 0x{number:04X}"

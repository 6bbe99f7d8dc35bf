"""A lead-acid battery and the controller that charges it."""

from bisect import bisect_right

from simulator.readings import Stage

# Resting voltage of a 12 V lead-acid battery by state of charge.
SOC = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
RESTING_V = (11.4, 11.6, 11.75, 12.05, 12.32, 12.55, 12.75)

BOOST_V = 14.4
FLOAT_V = 13.8
BOOST_AGAIN_V = 13.2
BOOST_SECONDS = 7200.0  # EPEVER's default: two hours at the boost voltage, then float
DISCONNECT_V = 11.1
RECONNECT_V = 12.6
CHARGER_EFFICIENCY = 0.97
BATTERY_EFFICIENCY = 0.93


def resting_voltage(soc: float) -> float:
    """Return the voltage at rest for a state of charge of 0..1."""
    soc = min(1.0, max(0.0, soc))
    right = min(bisect_right(SOC, soc), len(SOC) - 1)
    part = (soc - SOC[right - 1]) / (SOC[right] - SOC[right - 1])
    return RESTING_V[right - 1] + part * (RESTING_V[right] - RESTING_V[right - 1])


class Battery:
    """State of charge, charging stage and load switch, moved on in time by `step`."""

    def __init__(self, capacity_ah: float, charger_a: float, soc: float = 0.6) -> None:
        self.capacity_ah = capacity_ah
        self.charger_a = charger_a
        self.soc = soc
        self.voltage = resting_voltage(soc)
        self.charge_a = 0.0
        self.stage: Stage = "none"
        self.load_on = True
        self._boosted = 0.0

    def step(self, available_w: float, load_w: float, seconds: float) -> None:
        """Charge with at most what the panel has to give, and serve the load if it is on."""
        load_a = load_w / self.voltage if self.load_on else 0.0
        offered = min(available_w * CHARGER_EFFICIENCY / self.voltage, self.charger_a)
        self._choose_stage(offered, seconds)
        resting = resting_voltage(self.soc)
        resistance = 0.03 + 3.0 * max(0.0, (self.soc - 0.8) / 0.2) ** 4
        target = FLOAT_V if self.stage == "float" else BOOST_V
        accepted = max(0.0, (target - resting) / resistance) + load_a
        self.charge_a = min(offered, accepted) if self.stage != "none" else 0.0
        net = self.charge_a - load_a
        self.voltage = resting + net * (resistance if net > 0 else 0.03)
        kept = BATTERY_EFFICIENCY if net > 0 else 1.0
        charge = net * kept * seconds / 3600 / self.capacity_ah
        self.soc = min(1.0, max(0.0, self.soc + charge))
        if self.voltage < DISCONNECT_V:
            self.load_on = False
        elif self.voltage > RECONNECT_V:
            self.load_on = True

    def _choose_stage(self, offered: float, seconds: float) -> None:
        if offered < 0.02:
            self.stage = "none"
            self._boosted = 0.0
        elif self.stage == "none" or (self.stage == "float" and self.voltage < BOOST_AGAIN_V):
            self.stage = "boost"
            self._boosted = 0.0
        elif self.stage == "boost":
            if self.voltage >= BOOST_V - 0.1:
                self._boosted += seconds
            if self._boosted >= BOOST_SECONDS:
                self.stage = "float"

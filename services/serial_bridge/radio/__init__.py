"""Radio boards and the nodes behind them: packets in both directions, and the settings of the board."""

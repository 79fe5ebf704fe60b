"""What optimizers share: mixtures, shaping of fitness, step rules, variation, bounds."""

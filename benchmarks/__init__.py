"""Speed as ratios, never as a timed test."""

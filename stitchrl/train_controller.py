"""Train the ant's goal-reaching controller with SAC on a flat floor: `python -m stitchrl.train_controller`."""

from pathlib import Path

from stitchrl.guard import Parser, guarded


def main() -> None:
    parser = Parser("stitchrl.train_controller", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/ant_controller"), help="where log and weights go")
    parser.add_argument("--steps", type=int, default=400_000, help="environment steps of 0.05 s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--top-speed", type=float, default=float("inf"), help="m/s beyond which progress earns nothing")
    parser.add_argument("--fall-cost", type=float, default=5.0, help="what a fall costs besides the episode's end")
    arguments = parser.parse_args()

    from stitchrl.worlds.maze.sac import train  # here, since it takes seconds: `--help` is answered at once

    train(arguments.out, arguments.steps, arguments.seed, arguments.top_speed, arguments.fall_cost)


if __name__ == "__main__":
    guarded(main)

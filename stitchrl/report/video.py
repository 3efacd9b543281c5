"""One evaluated episode as a small animated WebP: the way so far, over the maze from above."""

import io

import numpy as np
from PIL import Image, ImageDraw

from stitchrl.report.figure import FAILED, GOAL, SOLVED, ends_of, maze_of
from stitchrl.report.runs import Run, Trajectory

FRAMES = 60
MILLISECONDS = 80  # a frame is shown
HOLD = 1500  # milliseconds, the last frame
CELL = 24  # pixels
WALL, FLOOR, INK = "#c3c6cc", "#ffffff", "#1a1a1a"


def video(run: Run, episode: Trajectory) -> bytes | None:
    """None where the maze is not known."""
    maze = maze_of(run)
    if maze is None:
        return None
    rows, columns = maze.free.shape
    background = Image.new("RGB", (CELL * columns, CELL * rows), FLOOR)
    draw = ImageDraw.Draw(background)
    for row, column in np.argwhere(~maze.free):
        draw.rectangle((column * CELL, row * CELL, (column + 1) * CELL - 1, (row + 1) * CELL - 1), fill=WALL)

    def at(xy: np.ndarray) -> np.ndarray:
        return (xy / maze.scale * (1, -1) + np.array([columns, rows]) / 2) * CELL

    def dot(draw: ImageDraw.ImageDraw, xy: np.ndarray, radius: float, colour: str) -> None:
        draw.ellipse((*(xy - radius), *(xy + radius)), fill=colour, outline=INK)

    if ends := ends_of(episode.task):
        dot(draw, at(maze.to_xy(ends[1])), 0.35 * CELL, GOAL)
    way = at(episode.xy)
    frames = []
    for last in np.linspace(0, len(way) - 1, min(FRAMES, len(way))).round().astype(int):
        frame = background.copy()
        draw = ImageDraw.Draw(frame)
        colour = SOLVED if episode.success else FAILED
        draw.line([tuple(xy) for xy in way[: last + 1]], fill=colour, width=2)
        dot(draw, way[last], 0.2 * CELL, colour)
        frames.append(frame)
    stream = io.BytesIO()
    durations = [MILLISECONDS] * (len(frames) - 1) + [HOLD]
    frames[0].save(
        stream, "WEBP", save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=60, method=2
    )
    return stream.getvalue()

"""One evaluated episode as a small animated WebP: the way so far, over the world from above."""

import io

import numpy as np
from PIL import Image, ImageDraw

from stitchrl.report.drawing import FAILED, GOAL, SOLVED, WALL, extent_of, place
from stitchrl.report.records import Trajectory
from stitchrl.report.runs import Run

FRAMES = 60
MILLISECONDS = 80  # a frame is shown
HOLD = 1500  # milliseconds, the last frame
SIDE = 240  # pixels, the longer one
FLOOR, INK = "#ffffff", "#1a1a1a"


def video(run: Run, episode: Trajectory) -> bytes:
    """The episode in motion, over what the world's drawing holds."""
    left, right, low, high = extent_of(run.drawing, episode.points)
    unit = SIDE / max(right - left, high - low)  # pixels

    def at(points: np.ndarray) -> np.ndarray:
        return (points - (left, high)) * (unit, -unit)

    def dot(draw: ImageDraw.ImageDraw, center: np.ndarray, radius: float, colour: str) -> None:
        draw.ellipse((*(center - radius), *(center + radius)), fill=colour, outline=INK)

    size = (max(1, round((right - left) * unit)), max(1, round((high - low) * unit)))
    background = Image.new("RGB", size, FLOOR)
    draw = ImageDraw.Draw(background)
    for x, y, width, height in run.drawing["rectangles"] if run.drawing else []:
        corners = at(np.array([[x, y + height], [x + width, y]])).round()
        draw.rectangle((*corners[0], *np.maximum(corners[0], corners[1] - 1)), fill=WALL)
    task = next(task for task in run.tasks if task["name"] == episode.task)
    if goal := task.get("goal"):
        dot(draw, at(np.array(place(goal))), 8, GOAL)
    way = at(episode.points)
    frames = []
    for last in np.linspace(0, len(way) - 1, min(FRAMES, len(way))).round().astype(int):
        frame = background.copy()
        draw = ImageDraw.Draw(frame)
        colour = SOLVED if episode.success else FAILED
        draw.line([tuple(step) for step in way[: last + 1]], fill=colour, width=2)
        dot(draw, way[last], 5, colour)
        frames.append(frame)
    stream = io.BytesIO()
    durations = [MILLISECONDS] * (len(frames) - 1) + [HOLD]
    options = {"append_images": frames[1:], "duration": durations, "loop": 0, "quality": 60, "method": 2}
    frames[0].save(stream, "WEBP", save_all=True, **options)
    return stream.getvalue()

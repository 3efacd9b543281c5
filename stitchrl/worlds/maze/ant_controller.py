"""The ant's behaviour: a goal-reaching policy that walks to a target in the plane.

The ant on a flat floor looks the same after any turn about the vertical, and after a quarter turn of its four equal
legs. Both symmetries are taken out of the input exactly. Every vector is expressed in the torso's frame. The legs are
renumbered so that the target always lies ahead (within 45 degrees). So the network learns to walk in one direction
only, and walks equally well in all.
"""

import torch
from torch import Tensor, nn

ACTION_DIM = 8
FEATURE_DIM = 30

# Gymnasium's ant.xml: joints are ordered hip_1, ankle_1 .. hip_4, ankle_4; motors hip_4, ankle_4, hip_1 .. ankle_3.
_MOTOR_OF_JOINT = torch.tensor([2, 3, 4, 5, 6, 7, 0, 1])
# Ankles 2 and 3 bend the other way round: with this sign, a positive angle bends every leg alike.
_ANKLE_SIGN = torch.tensor([1.0, -1.0, -1.0, 1.0])


def _rotation(quaternion: Tensor) -> Tensor:
    """Rotation matrices [B, 3, 3] from unit quaternions [B, 4] (w first): torso coordinates to world coordinates."""
    w, x, y, z = quaternion.unbind(-1)
    return torch.stack(
        [
            1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
        ],
        -1,
    ).unflatten(-1, (3, 3))  # fmt: skip


def _turn(vectors: Tensor, quarters: Tensor) -> Tensor:
    """Vectors [B, V, 3] seen from a frame turned by `quarters` [B] quarter turns about z."""
    angle = quarters * (torch.pi / 2)
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    x, y, z = vectors.unbind(-1)
    return torch.stack([cos * x + sin * y, cos * y - sin * x, z], -1)


def _legs(joints: Tensor, quarters: Tensor) -> Tensor:
    """Joint values [B, 8] as [B, 8] of four alike legs, counted from the leg that is first after the turn."""
    legs = joints.unflatten(-1, (4, 2)) * torch.stack([torch.ones(4), _ANKLE_SIGN], -1)
    order = (torch.arange(4) + quarters[:, None]) % 4
    return legs.gather(1, order[..., None].expand(-1, -1, 2)).flatten(1)


def features(observation: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The network's input [B, 30] and the quarter turns [B] that `motors` needs to undo, in the precision given.

    observation: [B, 29], the ant's state: x, y, z, quaternion (w, x, y, z), 8 joint angles, linear velocity (world),
    angular velocity (torso), 8 joint rates. target: [B, 2], where to walk, in metres.
    """
    rotation = _rotation(observation[:, 3:7])
    to_target = target - observation[:, :2]
    distance = to_target.norm(dim=-1, keepdim=True)
    direction = torch.cat([to_target / distance.clamp(min=1e-6), torch.zeros_like(distance)], -1)
    up = direction.new_tensor([0.0, 0.0, 1.0]).expand_as(direction)
    world = torch.stack([direction, up, observation[:, 15:18]], 1)
    torso = torch.cat([world @ rotation, observation[:, None, 18:21]], 1)  # direction, up, velocity, turning rate
    quarters = torch.round(torch.atan2(torso[:, 0, 1], torso[:, 0, 0]) / (torch.pi / 2)).long() % 4
    torso = _turn(torso, quarters)
    joints = [_legs(observation[:, 7:15], quarters), _legs(observation[:, 21:29], quarters)]
    return torch.cat([observation[:, 2:3], distance.clamp(max=1), torso.flatten(1), *joints], -1), quarters


def motors(legs: Tensor, quarters: Tensor) -> Tensor:
    """The network's output [B, 8], four alike legs from the first after the turn, as motor commands [B, 8]."""
    order = (torch.arange(4) - quarters[:, None]) % 4
    joints = legs.unflatten(-1, (4, 2)).gather(1, order[..., None].expand(-1, -1, 2))
    joints = (joints * torch.stack([torch.ones(4), _ANKLE_SIGN], -1)).flatten(1)
    action = torch.empty_like(joints)
    action[:, _MOTOR_OF_JOINT] = joints
    return action


class Actor(nn.Module):
    """Squashed Gaussian policy of SAC (Haarnoja et al., 2018) on the features above."""

    def __init__(self, hidden: int = 256):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(FEATURE_DIM, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.mean = nn.Linear(hidden, ACTION_DIM)
        self.log_std = nn.Linear(hidden, ACTION_DIM)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B, 8] before squashing by tanh."""
        hidden = self.trunk(features)
        return self.mean(hidden), self.log_std(hidden).clamp(-5, 2).exp()

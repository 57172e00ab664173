"""A baseline: the profiles of all features of a reference, and its JSON form.

The JSON form (`schemas/baseline.v1.json`) carries floats so that they come back exactly, and
the hash of its content; a document whose hash does not fit was edited or damaged and is
refused. The hash covers what affects binning and judging: the profiles and the pane length that
variance inflation was estimated with. It does not cover where the rows came from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any

import msgspec
import numpy as np
import orjson

from stream_monitor.baselines.directions import Directions
from stream_monitor.baselines.feature import FeatureProfile, Form, Kind, digest
from stream_monitor.baselines.season import Cycle, Season
from stream_monitor.baselines.slices import SliceDocument, check_slices, document, profile_of
from stream_monitor.errors import BaselineError
from stream_monitor.events.columns import IntArray

SCHEMA = "stream-monitor/baseline/v1"


@dataclass(frozen=True, eq=False)
class Baseline:
    """Profiles of all features, sorted by name, and where they came from.

    `rows` is the reference's number of rows; a feature that was learned later counts its own.
    `first_time` and `last_time` are event times (microseconds), None where there are none.
    `pane` is the pane length (microseconds) and `vif_panes` the number of panes that the variance
    inflation was estimated with; 0 means that it was not, so what is promised is provisional.
    `source` is free text. `left_out` counts features over the limit. Two baselines are equal if
    their hashes are. `texts` are names whose derived features are among the features, `directions`
    those of embeddings, sorted by name: see `stream_monitor.baselines.derived`.

    `slices` are counted beside the features, under the same layout (`baselines.slices`):
    features within a segment, and pairs of features; sorted by name too. `unsliced` says of each
    segment how many of its values have no slices.

    The *layout* concatenates the bins of `profiles`, features first and then slices: profile f
    owns the flat bins `offsets[f]` to `offsets[f + 1]`, and a pane's data is one vector of
    `total_bins` counts. Sums, ranges and sketches are kept of features only.
    """

    features: tuple[FeatureProfile, ...]
    rows: int
    first_time: int | None = None
    last_time: int | None = None
    pane: int | None = None
    vif_panes: int = 0
    source: str = ""
    left_out: int = 0
    slices: tuple[FeatureProfile, ...] = ()
    texts: tuple[str, ...] = ()
    directions: tuple[Directions, ...] = ()
    unsliced: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [profile.name for profile in self.features]
        if not names:
            raise BaselineError("a baseline needs at least one feature")
        if names != sorted(set(names)):
            raise BaselineError("a baseline's features must be sorted by name, each once")
        check_slices(self.features, self.slices)

    @cached_property
    def profiles(self) -> tuple[FeatureProfile, ...]:
        """Everything that has bins: the features, then the slices."""
        return self.features + self.slices

    @cached_property
    def offsets(self) -> IntArray:
        """First flat bin of each profile and, last, their total; shape (len(profiles) + 1,)."""
        sizes = [profile.n_bins for profile in self.profiles]
        offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        offsets.flags.writeable = False
        return offsets

    @cached_property
    def counts(self) -> IntArray:
        """The baseline's own rows per flat bin, shape (T,)."""
        counts = np.concatenate([profile.counts for profile in self.profiles])
        counts.flags.writeable = False
        return counts

    @property
    def total_bins(self) -> int:
        """T: the length of a pane's count vector."""
        return int(self.offsets[-1])

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each feature by its name."""
        return {profile.name: position for position, profile in enumerate(self.features)}

    @cached_property
    def places(self) -> dict[str, int]:
        """Position of each profile by its name, slices included."""
        return {profile.name: position for position, profile in enumerate(self.profiles)}

    def only(self, features: Collection[str]) -> Baseline:
        """The same with the features named alone, and the slices of these; at least one must be."""
        return replace(
            self,
            features=tuple(profile for profile in self.features if profile.name in features),
            slices=tuple(one for one in self.slices if one.of and set(features).issuperset(one.of.parents)),
        )

    @property
    def provisional(self) -> bool:
        """Whether variance inflation is unknown, so that a false-alarm promise is provisional."""
        return self.vif_panes == 0

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of what affects binning and judging; independent of `source`."""
        content = {
            "schema": SCHEMA,
            "rows": self.rows,
            "pane": self.pane,
            "vif_panes": self.vif_panes,
            "features": [profile.hash for profile in self.features],
            **self._derived(),
        }
        if self.slices:
            content["slices"] = [profile.hash for profile in self.slices]
        return digest(content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Baseline) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def to_dict(self) -> dict[str, Any]:
        """JSON values of the whole profile."""
        content = {
            "schema": SCHEMA,
            "hash": self.hash,
            "source": self.source,
            "rows": self.rows,
            "first_time": self.first_time,
            "last_time": self.last_time,
            "pane": self.pane,
            "vif_panes": self.vif_panes,
            "left_out": self.left_out,
            "features": [profile.to_dict() for profile in self.features],
            **self._derived(),
        }
        if self.slices:
            content["slices"] = [document(profile) for profile in self.slices]
        if self.unsliced:
            content["unsliced"] = dict(self.unsliced)
        return content

    def _derived(self) -> dict[str, Any]:
        """What derived features are made by; nothing where there are none, as in older profiles."""
        found: dict[str, Any] = {}
        if self.texts:
            found["texts"] = list(self.texts)
        if self.directions:
            found["directions"] = {one.name: one.to_dict() for one in self.directions}
        return found

    def to_json(self) -> bytes:
        """The JSON document; equal baselines of one source give equal bytes."""
        return orjson.dumps(self.to_dict(), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, data: bytes) -> Baseline:
        """Read what `to_json` wrote; `BaselineError` says where the document is wrong."""
        try:
            check_schema("$.schema", msgspec.json.decode(data, type=Head).schema, SCHEMA)
            return _from_document(msgspec.json.decode(data, type=_Document))
        except msgspec.DecodeError as error:  # ValidationError too, its path included
            raise BaselineError(f"baseline profile cannot be read: {error}") from error
        except UnicodeDecodeError as error:
            raise BaselineError(f"baseline profile is not UTF-8: {error}") from error

    @classmethod
    def from_dict(cls, content: Any) -> Baseline:
        """The same from JSON values that were decoded already."""
        try:
            check_schema("$.schema", msgspec.convert(content, type=Head).schema, SCHEMA)
            return _from_document(msgspec.convert(content, type=_Document))
        except msgspec.ValidationError as error:
            raise BaselineError(f"baseline profile cannot be read: {error}") from error


class Head(msgspec.Struct):
    """What every version's document begins with."""

    schema: str


def check_schema(where: str, found: str, read: str) -> None:
    """`BaselineError` where a document is of another version, whatever else it holds."""
    if found != read:
        raise BaselineError(
            f"{where}: found {found!r}, this version reads {read!r}: use the version that wrote it, or build "
            "the profile again with `stream-monitor baseline create` and publish that"
        )


_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Season(msgspec.Struct):
    cycle: Cycle
    rows: list[_Count]
    channels: list[str]
    offsets: list[list[int]]
    noise: list[_Count]
    smooth: bool
    divergence: float


class _Feature(msgspec.Struct):
    name: str
    kind: Kind
    form: Form
    edges: list[float]
    low: float | None
    high: float | None
    categories: list[list[str]]
    counts: list[_Count]
    center: float
    quantum: float
    vif: float
    season: list[_Season] = []


class _Directions(msgspec.Struct):
    center: list[float]
    axes: list[list[int]]


class _Document(msgspec.Struct):
    schema: str
    rows: _Count
    features: list[_Feature]
    hash: str | None = None
    source: str = ""
    first_time: int | None = None
    last_time: int | None = None
    pane: int | None = None
    vif_panes: _Count = 0
    left_out: _Count = 0
    slices: list[SliceDocument] = []
    texts: list[str] = []
    directions: dict[str, _Directions] = {}
    unsliced: dict[str, _Count] = {}


def _from_document(found: _Document) -> Baseline:
    features = tuple(_profile(feature) for feature in found.features)
    known = {profile.name: profile for profile in features}
    baseline = Baseline(
        features=features,
        rows=found.rows,
        first_time=found.first_time,
        last_time=found.last_time,
        pane=found.pane,
        vif_panes=found.vif_panes,
        source=found.source,
        left_out=found.left_out,
        slices=tuple(profile_of(one, known) for one in found.slices),
        texts=tuple(found.texts),
        directions=tuple(_directions(*item) for item in sorted(found.directions.items())),
        unsliced=found.unsliced,
    )
    if found.hash is not None and found.hash != baseline.hash:
        raise BaselineError(
            f"$.hash: found {found.hash}, the content's is {baseline.hash}: the profile was edited or "
            "damaged; build it again with `stream-monitor baseline create`"
        )
    return baseline


def _directions(name: str, given: _Directions) -> Directions:
    lengths = {len(axis) for axis in given.axes}
    if lengths - {len(given.center)}:
        raise BaselineError(f"$.directions.{name}: the axes are not as long as the centre")
    axes = np.array(given.axes, np.int64).reshape(len(given.axes), len(given.center))
    return Directions(name, np.array(given.center), axes)


def _profile(feature: _Feature) -> FeatureProfile:
    return FeatureProfile(
        name=feature.name,
        kind=feature.kind,
        form=feature.form,
        edges=np.array(feature.edges, dtype=np.float64),
        low=float("nan") if feature.low is None else feature.low,
        high=float("nan") if feature.high is None else feature.high,
        categories=tuple(tuple(group) for group in feature.categories),
        counts=np.array(feature.counts, dtype=np.int64),
        center=feature.center,
        quantum=feature.quantum,
        vif=feature.vif,
        season=tuple(_season(season) for season in feature.season),
    )


def _season(season: _Season) -> Season:
    return Season(
        cycle=season.cycle,
        rows=tuple(season.rows),
        channels=tuple(season.channels),
        offsets=tuple(tuple(row) for row in season.offsets),
        noise=tuple(season.noise),
        smooth=season.smooth,
        divergence=season.divergence,
    )

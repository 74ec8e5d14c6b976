"""The report of every kind of data that has none of its own. It shows rows by `Kind.preview`."""

from __future__ import annotations

from typing import Any, ClassVar

from vaekit.conditions import Label
from vaekit.deploy.report.paths import interpolations
from vaekit.show.latent_map import latent_maps
from vaekit.show.report import CLASSES, REACH, Report


class PlainReport(Report):
    """Rows beside their reconstructions, new rows, a latent map, paths between rows, and what each latent unit does."""

    template: ClassVar[str] = "plain.html.j2"

    def contents(self) -> dict[str, Any]:
        group, units = self.traversed(self.kind.preview_rows)
        swept = [(unit, nats, self.kind.preview(rows, f"unit {unit} from low to high")) for unit, nats, rows in units]
        labels = [c for c in self.conditions.values() if isinstance(c, Label)]
        return {
            "one": self.kind.noun.removesuffix("s"),
            "many": self.kind.noun,
            "reconstructions": self.reconstructions(),
            "samples": self.samples(),
            "left_out": max(0, labels[0].size - CLASSES) if labels else 0,
            "maps": list(latent_maps(self)),
            "interpolations": interpolations(self),
            "traversals": {"group": group, "reach": REACH, "strips": swept},
        }

    def reconstructions(self) -> list[tuple[Any, Any]]:
        """Pairs of previews: originals, and their reconstructions."""
        width = self.kind.preview_rows
        back = self.reconstructed(2 * width)
        pieces = [slice(i, i + width) for i in range(0, len(back), width)]
        preview = self.kind.preview
        return [(preview(self.x[s], "originals"), preview(back[s], "their reconstructions")) for s in pieces]

    def samples(self) -> list[tuple[str, Any]]:
        """Previews of new rows, with the name of their group of conditions; "" if there are no groups."""
        n, found = self.kind.preview_rows, []
        for group in self.groups:
            new = self.estimator.sample(n, self.conditions_of(group, n), random_state=self.estimator.seed_)
            found.append((group[0], self.kind.preview(new, f"samples of {group[0]}")))
        if found:
            return found
        new = self.estimator.sample(6 * n, random_state=self.estimator.seed_)
        return [("", self.kind.preview(new, "a grid of samples"))]

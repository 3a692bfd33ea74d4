"""The training loop: epochs, validation shared by all processes, checkpoints from which a run goes on bit for bit."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from common.errors import UserError
from training.datasets.epoch_dataset import EpochDataset
from training.datasets.loading import EpochSampler, Failures, batches_of, make_loader
from training.families import family_of
from training.tools.checkpoints import save_checkpoint
from training.tools.config import TrainConfig
from training.tools.distributed import Group
from training.tools.journal import Journal, face_table
from training.tools.metrics import Verdict, judge
from training.tools.precision import Precision
from training.tools.resuming import DataOrder, Position, random_state, set_random_state, training_state
from training.tools.schedulers import set_learning_rates
from training.tools.stopping import StopRequest

NO_BCE = 100.0  # the best bce before there is one, as published
SHOW_EVERY = 10  # iterations between looks at the loss; each look waits for the device


@dataclass(frozen=True)
class Settings:
    """What the command line decides about a run, beside its config."""

    name: str  # <prefix><network>_<encoder>_<fold>
    output_dir: Path
    fold: int = 0
    workers: int = 6
    seed: int = 777
    freeze_epochs: int = 0
    test_every: int = 1
    save_every: int = 500
    only_changed_frames: bool = False
    compile: bool = False

    @property
    def last(self) -> Path:
        return self.output_dir / f"{self.name}_last"


class Stopped(Exception):
    """The run was asked to end, and its state is saved."""


class Trainer:
    """A network on its way through the epochs; `position` says where it stands."""

    def __init__(
        self,
        config: TrainConfig,
        settings: Settings,
        group: Group,
        network: nn.Module,
        optimizer: Optimizer,
        precision: Precision,
        training: EpochDataset,
        validation: EpochDataset,
    ):
        self.config, self.settings, self.group = config, settings, group
        self.journal: Journal | None = None
        self.stop = StopRequest()
        if group.world > 1 and group.device.type == "cuda":
            network = precision.synchronize_batchnorm(network)
        self.family = family_of(config)
        network = network.to(group.device, memory_format=self.family.memory_format)
        self.network, self.optimizer = precision.prepare(network, optimizer)
        self.precision = precision
        self.criterion = self.family.criterion(config)
        self.batch_size = config.optimizer.batch_size
        self.sampler = EpochSampler(training, self.batch_size, group.rank, group.world)
        self.validation_crops = len(validation.rows)
        items = [(1, i) for i in range(group.rank, self.validation_crops, group.world)]
        self.faces = self.family.face_counts(validation.rows)
        pinned = group.device.type == "cuda"
        self.train_loader = make_loader(training, self.batch_size, self.sampler, settings.workers, pinned)
        self.val_loader = make_loader(validation, 2 * self.batch_size, items, settings.workers, pinned)
        self.order = DataOrder.of(
            training.rows,
            seed=settings.seed,
            oversample=training.oversample,
            batch_size=self.batch_size,
            world=group.world,
            batches_per_epoch=config.batches_per_epoch,
            sampling=training.sampling,
        )
        self.begin_at(0)
        self.bce_best = NO_BCE
        self.afresh: list[str] = []
        self.frozen: bool | None = None
        self.saved: Path | None = None

    def run(self) -> None:
        """All epochs that are left. Raises Stopped, UserError, OSError; the last saved state stays."""
        epochs = self.config.optimizer.schedule.epochs
        while self.position.epoch < epochs:
            epoch = self.position.epoch
            self._set_frozen(epoch < self.settings.freeze_epochs)
            began = time.monotonic()
            row = self.train_epoch()
            items, seconds = row.pop("items"), time.monotonic() - began
            row["items_per_second"] = items / seconds if items else None
            path = self.settings.output_dir / f"{self.settings.name}_{epoch}"
            self.save_state()
            if self.group.is_main:
                save_checkpoint(path, self.network, self.config, epoch + 1, self.bce_best)
            verdict = None
            if (epoch + 1) % self.settings.test_every == 0 or epoch + 1 == epochs:
                verdict = self.validate()
            self._finish_epoch(row, verdict, path)
            self.begin_at(epoch + 1)
            self.save_state()

    def train_epoch(self) -> dict[str, Any]:
        """The rest of the epoch at `position`; returns its row for the journal. Learning rates follow the iteration."""
        epoch, config = self.position.epoch, self.config
        there = self.sampler.batches_there(epoch)
        batches = min(there, config.batches_per_epoch)
        if not batches:
            items = len(self.sampler.dataset.order(epoch))
            raise UserError(
                f"an epoch has {items} crops, less than one batch of {self.batch_size} on {self.group.world} processes;"
                " a smaller optimizer.batch_size will do"
            )
        self.sampler.set(epoch, self.position.batch, batches)
        failures = Failures("training", batches * self.batch_size)
        began_at = self.position.batch
        bar = tqdm(
            total=batches,
            initial=began_at,
            desc=f"epoch {epoch}",
            unit="batch",
            disable=not self.group.is_main,
            leave=False,
        )
        with bar:
            for batch in batches_of(self.train_loader) if began_at < batches else ():
                self._set_rates(epoch, self.position.batch)
                failures.add(batch)
                if self.position.batch == began_at and self.journal:
                    self.journal.show_crops(self.family.pictures(batch["image"], config), epoch)
                losses = self.train_step(batch)
                self.sums += torch.stack([*(loss.detach().double() for loss in losses), self.sums.new_ones(())])
                self.position.batch += 1
                done = self.position.batch
                bar.update()
                if done % SHOW_EVERY == 0 or done == batches:
                    lr = self.optimizer.param_groups[0]["lr"]
                    loss, fake_loss, real_loss = self._means()
                    bar.set_postfix(lr=lr, epoch=epoch, loss=loss, fake_loss=fake_loss, real_loss=real_loss)
                if self.group.any(bool(self.stop)):
                    self.save_state()
                    raise Stopped
                if self.settings.save_every and done % self.settings.save_every == 0 and done < batches:
                    self.save_state()
        loss, fake_loss, real_loss = self._means()
        return {
            "epoch": epoch,
            "iteration": epoch * config.batches_per_epoch + batches,
            "lr": self.optimizer.param_groups[0]["lr"],
            "train_loss": loss,
            "train_fake_loss": fake_loss,
            "train_real_loss": real_loss,
            "items": (batches - began_at) * self.batch_size * self.group.world,
        }

    def train_step(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """One optimizer step on a batch; returns its loss, fake loss and real loss, scalars."""
        images, labels = (batch[name].to(self.group.device, non_blocking=True) for name in ("image", "labels"))
        images, targets = self.criterion.prepare(images, labels)
        with self.precision.autocast():
            logits = self.model(images.contiguous(memory_format=self.family.memory_format))
        chosen = batch["valid"].to(self.group.device) if self.settings.only_changed_frames else None
        losses = self.criterion(logits.float(), targets, chosen)
        self.optimizer.zero_grad()
        self.precision.backward(losses[0], self.optimizer)
        norm = self.precision.step(self.optimizer, self.config.gradient_clip)
        # Gradients that are not finite have spoiled the weights, which the loss before the step does not show yet.
        return losses[0].where(norm.isfinite(), torch.nan), *losses[1:]

    @torch.no_grad()
    def validate(self) -> Verdict | None:
        """The verdict on the validation crops, of which each process scores its share; None on all but the main one."""
        self.network.eval()
        self.group.share_buffers(self.network)
        failures = Failures("validation", self.validation_crops)  # of all processes: a share may be small
        scored: list[tuple[str, str, float, int]] = []
        for batch in tqdm(
            batches_of(self.val_loader),
            total=len(self.val_loader),
            desc="validation",
            unit="batch",
            disable=not self.group.is_main,
            leave=False,
        ):
            failures.add(batch)
            if self.stop:
                break
            if batch["image"] is None:
                continue
            images = batch["image"].to(self.group.device, non_blocking=True)
            with self.precision.autocast():
                logits = self.network(images.contiguous(memory_format=self.family.memory_format))
            probabilities = self.family.probabilities(logits.float()).tolist()
            labels = batch["labels"].flatten().int().tolist()
            names = [name.split("/") for name in batch["img_name"]]
            scored += [(*name, p, label) for name, p, label in zip(names, probabilities, labels, strict=True)]
        if self.group.any(bool(self.stop)):  # the state before validation is saved
            raise Stopped
        failures.refuse_many(sum(self.group.gather(len(failures.messages))))
        everybody = self.group.gather(scored)
        if not self.group.is_main:
            return None
        return judge([crop for share in everybody for crop in share], self.family.aggregate, self.faces)

    def _finish_epoch(self, row: dict[str, Any], verdict: Verdict | None, path: Path) -> None:
        """Record the epoch, and keep its weights if they are the best."""
        if not self.group.is_main:
            return
        if verdict:
            better = verdict.bce < self.bce_best
            if better:
                self.bce_best = verdict.bce
                best = self.settings.output_dir / f"{self.settings.name}_best_dice"
                save_checkpoint(best, self.network, self.config, row["epoch"] + 1, self.bce_best)
            row |= {name: getattr(verdict, name) for name in ("fake_loss", "real_loss", "bce", "auc")} | {
                "best": int(better)
            }
            print(f"fake_loss {verdict.fake_loss}")
            print(f"real_loss {verdict.real_loss}")
            for line in face_table(verdict.by_faces):
                print(line)
        validated = (
            f"bce {verdict.bce:.5f}, auc {verdict.auc:.4f}, best bce {self.bce_best:.5f}"
            if verdict
            else "not validated"
        )
        rate = row["items_per_second"]
        speed = "" if rate is None else f", {rate:.1f} crops/s"
        print(f"epoch {row['epoch']}: loss {row['train_loss']:.5f}, {validated}{speed}")
        print(f"checkpoint {path}", flush=True)
        if self.journal:
            row["checkpoint"] = str(path)
            lrs = [group["lr"] for group in self.optimizer.param_groups]
            self.journal.write_epoch(row, lrs, verdict, self.settings.fold)

    def save_state(self) -> None:
        """Write `_last`, all processes together. Raises UserError instead where the weights have become useless."""
        sums = self.sums.tolist()
        if self.group.any(not all(map(math.isfinite, sums))):
            kept = f"; the state before is in {self.saved}" if self.saved else ""
            raise UserError(
                f"the loss of epoch {self.position.epoch} is not finite; a lower learning rate may help{kept}"
            )
        random_states = self.group.gather(random_state(self.group.device))
        if self.group.is_main:
            state = training_state(
                self.position,
                sums,
                self.order,
                self.optimizer.state_dict(),
                self.precision.state_dict(),
                [group["lr"] for group in self.optimizer.param_groups],
                random_states,
                self.bce_best,
                self.afresh,
            )
            epoch = self.position.epoch + bool(self.position.batch)
            save_checkpoint(self.settings.last, self.network, self.config, epoch, self.bce_best, state)
        self.saved = self.settings.last

    def restore(self, state: Mapping[str, Any]) -> list[str]:
        """Go on from the training state of a checkpoint whose weights are loaded; returns remarks on what differs."""
        remarks = []
        groups = [{key: value for key, value in g.items() if key != "params"} for g in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        # Learning rate, momentum and weight decay are what the config says now.
        for group, values in zip(self.optimizer.param_groups, groups, strict=True):
            group.update(values)
        self._set_rates(state["position"]["epoch"], max(state["position"]["batch"] - 1, 0))
        self.precision.load_state_dict(state["scaler"])
        self.begin_at(**state["position"])
        self.sums += torch.tensor(state["sums"], dtype=torch.float64, device=self.group.device)
        self.bce_best = state["bce_best"]
        differences = self.order.differences(state["order"])
        if differences and self.position.batch:
            remarks.append(
                f"{', '.join(differences)} changed since it was interrupted: epoch {self.position.epoch} begins again"
            )
            self.begin_at(self.position.epoch)
        if len(state["random"]) == self.group.world:
            set_random_state(state["random"][self.group.rank], self.group.device)
        return remarks

    def where(self) -> str:
        """The position in words."""
        batch = f", batch {self.position.batch}" if self.position.batch else ""
        return f"epoch {self.position.epoch}{batch}"

    def open_journal(self, folder: Path) -> None:
        """Keep records in `folder` from here on; what it has of epochs that are still to come is dropped."""
        self.journal = Journal(folder, self.position.epoch)

    def begin_at(self, epoch: int, batch: int = 0) -> None:
        """Stand at a batch of an epoch, nothing of the epoch summed up yet."""
        self.position = Position(epoch, batch)
        self.sums = torch.zeros(4, dtype=torch.float64, device=self.group.device)

    def _set_frozen(self, frozen: bool) -> None:
        """Training mode, with the encoder left out of it while it is frozen."""
        self.network.train()
        if frozen:
            self.network.encoder.eval()
        if frozen == self.frozen:
            return
        if frozen or self.frozen:
            self.network.encoder.requires_grad_(not frozen)
        self.frozen = frozen
        model = torch.compile(self.network) if self.settings.compile else self.network
        # Wrapped anew: a group's wrapper expects gradients of what was trainable when it was made.
        self.model = self.precision.distribute(model) if self.group.world > 1 else model

    def _set_rates(self, epoch: int, batch: int) -> None:
        iteration = epoch * self.config.batches_per_epoch + batch
        set_learning_rates(self.optimizer, self.config.optimizer.schedule, iteration, epoch)

    def _means(self) -> list[float]:
        """Loss, fake loss and real loss, averaged over the epoch's batches so far."""
        *losses, count = self.sums.tolist()
        return [loss / count for loss in losses]

"""Simulated trainers: in pods of fake nodes they save, report, fail and are stopped.

A trainer writes each report on its pod first, for the checker; then it sends the report until it is
acknowledged.
"""

import asyncio
import json
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp

from chaos.operator.checker import PLANNED_END, REPORTED
from detection_operator import names
from detection_trainer.contract.runtime import REPORT_PATH
from sandbox.simulation.fake_nodes import SELECTOR, TRAINED, end_of
from sandbox.simulation.pod_tokens import TokenSigner
from sandbox.site.kube import ApiError, AsyncKube

Object = dict[str, Any]
STEPS, STEP = 60, 10
PAUSE_S = 0.5
RETRY_S = 0.3
GONE = frozenset({403, 404, 409})
MODEL: Object = {"backbone": "tiny", "imageSize": 64}


class PodGoneError(Exception):
    """The pod is gone: none of its reports may be sent any more."""


def training(name: str, end: str) -> Object:
    """Return a training that is planned to end in the phase `end`."""
    return {
        "apiVersion": "detectiontraining.dev/v1alpha1",
        "kind": "DetectionTraining",
        "metadata": {"name": name, "annotations": {PLANNED_END: end}},
        "spec": {
            "model": MODEL,
            "dataset": {"train": {"uri": "s3://data/x"}, "classes": ["tree"]},
            "steps": STEPS,
            "checkpoints": {
                "storage": {"uri": "s3://runs/taken" if end == "Refused" else f"s3://runs/{name}"}
            },
            "retryPolicy": {"maxRetries": 50},
            "podTemplate": {"nodeSelector": SELECTOR, "labels": {TRAINED: end}},
        },
    }


@dataclass(slots=True)
class Trainers:
    """All trainers, with the storage of each, which outlives it."""

    client: AsyncKube
    urls: list[str]
    """Of the replicas: a Service would send each report to one of them."""
    signer: TokenSigner
    namespace: str
    chance: random.Random
    saved: defaultdict[str, int] = field(default_factory=lambda: defaultdict(lambda: -1))
    stopping: set[str] = field(default_factory=set)
    playing: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)

    @property
    def pods(self) -> str:
        """The path of the pods."""
        return f"/api/v1/namespaces/{self.namespace}/pods"

    async def run(self) -> None:
        """Simulate every pod until cancelled; wait while the API server is down."""
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async for event in self.client.watch(self.pods, metadata_only=False):
                        self._take(event["object"], session)
                except (aiohttp.ClientError, ApiError, TimeoutError):
                    await asyncio.sleep(RETRY_S)

    def _take(self, pod: Object, session: aiohttp.ClientSession) -> None:
        metadata = pod["metadata"]
        uid = metadata["uid"]
        if "deletionTimestamp" in metadata:
            self.stopping.add(uid)
        if (pod.get("status") or {}).get("phase") == "Running" and uid not in self.playing:
            self.playing[uid] = asyncio.create_task(self._play(metadata, session))

    async def _play(self, pod: Object, session: aiohttp.ClientSession) -> None:
        try:
            await self._train(pod, session)
        except PodGoneError:
            return

    async def _train(self, pod: Object, session: aiohttp.ClientSession) -> None:
        name = pod["labels"][names.LABEL_TRAINING]
        planned = pod["labels"][TRAINED]
        start = step = max(self.saved[name], 0)
        sequence = 0
        while True:
            await asyncio.sleep(PAUSE_S * self.chance.uniform(0.5, 1.5))
            code = self._exit_code(pod, planned, step)
            if code in {None, 0, 40} and (step > start or step == 0):
                self.saved[name] = max(self.saved[name], step)
            sequence += 1
            report = self._report(pod, start, step, sequence, code)
            await self._send(pod, name, report, session)
            if code is not None:
                await self._patch(pod, end_of(code, json.dumps(report)))
                return
            step = min(step + STEP, STEPS)

    def _exit_code(self, pod: Object, planned: str, step: int) -> int | None:
        if pod["uid"] in self.stopping:
            return 40
        if planned == "Failed" and step >= STEPS // 2:
            return 52
        if step >= STEPS:
            return 0
        return 70 if self.chance.random() < 0.05 else None  # noqa: PLR2004 - one in twenty fails

    def _report(
        self, pod: Object, start: int, step: int, sequence: int, code: int | None
    ) -> Object:
        name = pod["labels"][names.LABEL_TRAINING]
        now, saved = datetime.now(UTC).isoformat(), self.saved[name]
        report: Object = {
            "attempt": int(pod["labels"][names.LABEL_ATTEMPT]),
            "sequence": sequence,
            "time": now,
            "step": step,
            "targetSteps": STEPS,
            "resumedFromStep": start,
        }
        if saved >= 0:
            digest, uri = "sha256:" + "0" * 64, f"s3://runs/{name}/step-{saved}"
            record = {"step": saved, "uri": uri, "digest": digest, "savedAt": now}
            report |= {"checkpoints": [record], "checkpointCount": 1}
        if code is not None:
            reasons = {0: "Completed", 40: "Saved", 52: "DataInvalid", 70: "Unexpected"}
            report["outcome"] = {"exitCode": code, "reason": reasons[code], "message": "as planned"}
        return report

    async def _send(
        self, pod: Object, name: str, report: Object, session: aiohttp.ClientSession
    ) -> None:
        """Write the report on the pod, then send it until it is acknowledged or refused."""
        reported = {
            "attempt": report["attempt"],
            "step": max(report["step"], self.saved[name]),
            "checkpoint": self.saved[name],
            "completed": (report.get("outcome") or {}).get("exitCode") == 0,
        }
        await self._patch(pod, {"metadata": {"annotations": {REPORTED: json.dumps(reported)}}})
        token = self.signer.sign(self.namespace, pod["name"], pod["uid"])
        path = REPORT_PATH.format(namespace=self.namespace, name=name)
        headers = {"Authorization": f"Bearer {token}"}
        while True:
            url = self.chance.choice(self.urls) + path
            try:
                async with session.post(url, json=report, headers=headers) as answer:
                    if answer.status == 200 or answer.status in GONE:  # noqa: PLR2004
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(RETRY_S)

    async def _patch(self, pod: Object, change: Object) -> None:
        """Change the pod, if it is still this one; wait while the API server is down."""
        body = {"metadata": {"uid": pod["uid"], **change["metadata"]}}
        while True:
            try:
                await self.client.merge(f"{self.pods}/{pod['name']}", body)
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(RETRY_S)
            except ApiError as error:
                if error.status in {404, 409, 422}:
                    raise PodGoneError from error
                await asyncio.sleep(RETRY_S)
            else:
                return

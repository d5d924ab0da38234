"""What the API server itself accepts and refuses: the generated schema and its CEL rules."""

import re
from http import HTTPStatus
from typing import Any

import pytest

from detection_operator.api.crd import build_crd
from detection_trainer.contract.rules import CEL_KEY
from sandbox.samples.trainings import changed, training
from sandbox.site.kube import TRAININGS, ApiError, Kube, Object
from tests.support.operator.hostile import api_bytes, nested

BASE = training()
FROM_TRAINING = {"mode": "detection", "from": {"trainingRef": {"name": "coco"}}}
CLAIM = {"volumeClaim": {"size": "1Gi"}}

ACCEPTED: dict[str, Object] = {
    "the smallest training": BASE,
    "restore from another training": training(restore=FROM_TRAINING),
    "restore from a URI": training(
        restore={"mode": "full", "from": {"uri": "gs://models/coco/step-00100000"}}
    ),
    "an image classifier for classification": training(
        restore={"mode": "classification", "from": {"uri": "keras://resnet50/imagenet"}}
    ),
    "continue from another training": training(continueFrom={"trainingRef": {"name": "coco"}}),
    "a label map in place of classes": training(
        dataset={"train": {"uri": "s3://data/*"}, "labelMap": {"uri": "s3://data/label_map.pbtxt"}}
    ),
    "a new claim": training(checkpoints={"storage": CLAIM}),
    "an existing claim": training(checkpoints={"storage": {"volumeClaim": {"claimName": "x"}}}),
    "several workers on a shared claim": training(
        workers=2,
        checkpoints={"storage": {"volumeClaim": {"size": "1Gi", "accessModes": ["ReadWriteMany"]}}},
    ),
    "several workers at a URI": training(workers=4),
    "a name of 40 characters": training("a" * 40),
    "rate 0 at the end, steps within decaySteps": training(
        optimizer={"schedule": {"finalFraction": 0, "decaySteps": 100}}
    ),
    "a step schedule": training(optimizer={"schedule": {"type": "step", "boundaries": [10, 20]}}),
    "a step schedule with rates": training(
        optimizer={"schedule": {"type": "step", "boundaries": [10, 20], "rates": [0.1, 0.01]}}
    ),
    "an exponential schedule, and rms_prop": training(
        optimizer={"name": "rms_prop", "schedule": {"type": "exponential", "decaySteps": 10}}
    ),
    "GPUs, tolerations and a node selector": training(
        resources={"limits": {"nvidia.com/gpu": 1, "memory": "32Gi"}, "requests": {"cpu": "8"}},
        podTemplate={
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "nodeSelector": {"accelerator": "a100"},
            "affinity": {"nodeAffinity": {}},
        },
    ),
    "volumes and variables of each kind": training(
        podTemplate={
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "volumes": [
                {"name": "a", "emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}},
                {"name": "b", "persistentVolumeClaim": {"claimName": "c"}},
                {"name": "c", "csi": {"driver": "d", "volumeAttributes": {"share": "s"}}},
                {"name": "d", "projected": {"sources": [{"configMap": {"name": "c"}}]}},
            ],
            "volumeMounts": [{"name": "a", "mountPath": "/a", "subPath": "b"}],
            "securityContext": {"fsGroup": 1000, "seLinuxOptions": {"level": "s0"}},
        },
    ),
    "no sample images, without data to evaluate on": training(evaluation={"sampleImages": 0}),
    "evaluations": training(
        dataset={
            "train": {"uri": "s3://data/*"},
            "validation": {"uri": "gs://data/*", "additionalUris": ["az://more/*"]},
            "classes": ["tree", "car"],
            "numClasses": 2,
        },
        evaluation={"everySteps": 10, "sampleImages": 8},
        checkpoints={"storage": CLAIM, "keepBest": 2},
    ),
    "a warm-up of a cosine that is longer than the run": training(
        steps=6, optimizer={"schedule": {"warmupSteps": 10, "decaySteps": 100}}
    ),
    "a pipeline.config in a ConfigMap": training(
        model=None,
        dataset=None,
        steps=None,
        batchSize=None,
        pipelineConfig={"configMapKeyRef": {"name": "trees"}},
    ),
    "a pipeline.config at a URI": training(
        model=None,
        dataset=None,
        steps=None,
        batchSize=None,
        pipelineConfig={"uri": "s3://models/pipeline.config"},
    ),
    "a pipeline.config whose dataset and steps are replaced": training(
        model=None, workers=3, pipelineConfig={"inline": "model { }"}
    ),
    "every augmentation, in order": training(
        augmentation=[
            {"randomHorizontalFlip": {}},
            {"randomVerticalFlip": {"probability": 0.3}},
            {"randomRotation90": {}},
            {"randomScaleCrop": {"minScale": 0.5}},
            {"randomDistortColor": {}},
            {"randomCropImage": {"minArea": 0.5}},
            {"ssdRandomCrop": {"operations": [{"minArea": 0.5}]}},
            {"randomAdjustBrightness": {}},
            {"randomAdjustContrast": {}},
            {"randomAdjustSaturation": {}},
            {"randomAdjustHue": {}},
        ]
    ),
}

REFUSED: dict[str, tuple[Object, str]] = {
    "an export of an unknown format": (training(exports=["TFLite"]), "spec.exports[0]"),
    "an unknown field": (changed(BASE, "spec.stepps", 5), 'unknown field "spec.stepps"'),
    "two places for checkpoints": (
        training(checkpoints={"storage": {"uri": "s3://runs/b", **CLAIM}}),
        "exactly one of uri, volumeClaim must be set",
    ),
    "no place for checkpoints": (
        training(checkpoints={"storage": {}}),
        "exactly one of uri, volumeClaim must be set",
    ),
    "a claim both new and existing": (
        training(checkpoints={"storage": {"volumeClaim": {"size": "1Gi", "claimName": "x"}}}),
        "exactly one of claimName, size must be set",
    ),
    "two sources to restore from": (
        training(
            restore={"mode": "full", "from": {"uri": "s3://runs/b", "trainingRef": {"name": "c"}}}
        ),
        "exactly one of uri, trainingRef must be set",
    ),
    "two sources to continue from": (
        training(continueFrom={"uri": "s3://runs/b", "trainingRef": {"name": "c"}}),
        "exactly one of uri, trainingRef must be set",
    ),
    "restore beside continueFrom": (
        training(restore=FROM_TRAINING, continueFrom={"uri": "s3://runs/b"}),
        "restore and continueFrom exclude each other",
    ),
    "a label map beside classes": (
        changed(BASE, "spec.dataset.labelMap", {"uri": "s3://data/label_map.pbtxt"}),
        "exactly one of labelMap, classes must be set",
    ),
    "neither label map nor classes": (
        changed(BASE, "spec.dataset.classes", None),
        "exactly one of labelMap, classes must be set",
    ),
    "an empty list of classes": (changed(BASE, "spec.dataset.classes", []), "at least 1 items"),
    "negative steps": (training(steps=-1), "greater than or equal to 1"),
    "no steps": (training(steps=None), "dataset and steps must be set"),
    "no model": (training(model=None), "exactly one of model, pipelineConfig must be set"),
    "a model beside a pipeline.config": (
        training(pipelineConfig={"inline": "model { }"}),
        "exactly one of model, pipelineConfig must be set",
    ),
    "two pipeline.configs": (
        training(model=None, pipelineConfig={"inline": "x", "configMapKeyRef": {"name": "x"}}),
        "exactly one of configMapKeyRef, inline, uri must be set",
    ),
    "a pipeline.config at two places": (
        training(
            model=None, pipelineConfig={"uri": "s3://runs/b", "configMapKeyRef": {"name": "x"}}
        ),
        "exactly one of configMapKeyRef, inline, uri must be set",
    ),
    "a pipeline.config at a URI that no preflight may read": (
        training(model=None, preflight="Never", pipelineConfig={"uri": "s3://runs/b"}),
        "pipelineConfig.uri is read by the preflight's pod: preflight cannot be Never",
    ),
    "a pipeline.config at an address without a scheme": (
        training(model=None, pipelineConfig={"uri": "/data/pipeline.config"}),
        "expected s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH or file:///PATH",
    ),
    "batch size 0": (training(batchSize=0), "greater than or equal to 1"),
    "an unknown backbone": (
        changed(BASE, "spec.model.backbone", "resnet51"),
        'Unsupported value: "resnet51": supported values: "tiny"',
    ),
    "an unknown restore mode": (
        training(restore={**FROM_TRAINING, "mode": "everything"}),
        'supported values: "classification", "detection", "full"',
    ),
    "an image size that is no multiple of 32": (
        changed(BASE, "spec.model.imageSize", 100),
        "should be a multiple of 32",
    ),
    "a URI without a scheme": (
        changed(BASE, "spec.dataset.train.uri", "/data/x.tfrecord"),
        "expected s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH or file:///PATH",
    ),
    "a bucket whose name is too short": (
        changed(BASE, "spec.dataset.train.uri", "s3://a/b"),
        "a bucket's name has 3 to 255 characters",
    ),
    "a bucket whose name is too short, to restore from": (
        training(restore={"mode": "full", "from": {"uri": "s3://a/b"}}),
        "a bucket's name has 3 to 255 characters",
    ),
    "a size with a space": (
        training(checkpoints={"storage": {"volumeClaim": {"size": "4 GB"}}}),
        "expected a number and a unit without a space between",
    ),
    "credentials for a file": (
        training(credentials=[{"uriPrefix": "file:///x", "secretRef": {"name": "s"}}]),
        "expected the beginning of URIs with s3://, gs:// or az://",
    ),
    "a number of classes that is another": (
        changed(BASE, "spec.dataset.numClasses", 2),
        "numClasses must be the number of classes: correct it, or leave it out",
    ),
    "evaluations without data for them": (
        training(evaluation={"everySteps": 10}),
        "need data to evaluate on: set dataset.validation, or remove them",
    ),
    "images to draw without data for them": (
        training(evaluation={"sampleImages": 8}),
        "need data to evaluate on: set dataset.validation, or remove them",
    ),
    "best checkpoints without evaluations": (
        training(checkpoints={"storage": CLAIM, "keepBest": 2}),
        "checkpoints.keepBest compares evaluations",
    ),
    "a warm-up that is longer than the training": (
        training(steps=6, optimizer={"schedule": {"warmupSteps": 100}}),
        "set optimizer.schedule.warmupSteps below steps, or raise steps",
    ),
    "a crop whose minimum is above its maximum": (
        training(augmentation=[{"randomCropImage": {"minArea": 0.9, "maxArea": 0.5}}]),
        "expected each minimum of a crop at or below its maximum",
    ),
    "a keras source in mode full": (
        training(restore={"mode": "full", "from": {"uri": "keras://resnet50/imagenet"}}),
        "a keras:// source is an image classifier: use mode classification",
    ),
    "itself as its source": (
        training(restore={"mode": "full", "from": {"trainingRef": {"name": "trees"}}}),
        "must name another training: this training resumes without it",
    ),
    "to continue from itself": (
        training(continueFrom={"trainingRef": {"name": "trees"}}),
        "must name another training: to train this one further, raise steps",
    ),
    "a name of 41 characters": (training("a" * 41), "at most 40 characters"),
    "a batch that workers cannot share": (
        training(batchSize=4, workers=3),
        "it must be divisible by workers",
    ),
    "several workers on a claim for one": (
        training(workers=2, checkpoints={"storage": CLAIM}),
        "several workers need storage that all of them can mount",
    ),
    "minimum level above the maximum": (
        changed(BASE, "spec.model.fpn", {"minLevel": 5, "maxLevel": 4}),
        "minLevel must not be above maxLevel",
    ),
    "matcher thresholds crossed": (
        changed(BASE, "spec.model.matcher", {"matchedThreshold": 0.4, "unmatchedThreshold": 0.5}),
        "unmatchedThreshold must not be above matchedThreshold",
    ),
    "a shorter side without an aspect to keep": (
        changed(BASE, "spec.model.imageResizer", {"type": "fixedShape", "minDimension": 32}),
        "minDimension is only valid with type keepAspectRatio",
    ),
    "a shorter side that is longer than the square": (
        changed(BASE, "spec.model.imageResizer", {"type": "keepAspectRatio", "minDimension": 2048}),
        "imageResizer.minDimension must not be above imageSize",
    ),
    "more detections of a class than of the image": (
        changed(
            BASE, "spec.model.postProcessing", {"maxDetections": 5, "maxDetectionsPerClass": 6}
        ),
        "maxDetectionsPerClass must not be above maxDetections",
    ),
    "an export that the OD API has no model for": (
        training(exports=["ODAPI"]),
        "exports: ODAPI needs a backbone that the OD API has",
    ),
    "a hold without a cosine": (
        training(optimizer={"schedule": {"type": "constant", "holdSteps": 5}}),
        "holdSteps is only valid with type cosine: remove it, or correct type",
    ),
    "a decay of a constant rate": (
        training(optimizer={"schedule": {"type": "constant", "decaySteps": 50}}),
        "decaySteps is only valid with type cosine or exponential",
    ),
    "a staircase of a cosine": (
        training(optimizer={"schedule": {"staircase": False}}),
        "staircase is only valid with type exponential",
    ),
    "a rate of a warm-up that there is not": (
        training(optimizer={"schedule": {"warmupLearningRate": 0.001}}),
        "warmup and warmupLearningRate need a warm-up",
    ),
    "the decay of another optimizer": (
        training(optimizer={"name": "adam", "decay": 0.9}),
        "decay is only valid with name rms_prop",
    ),
    "the epsilon of another optimizer": (
        training(optimizer={"name": "momentum", "epsilon": 0.1}),
        "epsilon is only valid with name adam or adamw or rms_prop",
    ),
    "boundaries that fall": (
        training(optimizer={"schedule": {"type": "step", "boundaries": [20, 10]}}),
        "boundaries must be in rising order",
    ),
    "factors of which the first is above the second": (
        training(augmentation=[{"randomAdjustContrast": {"minDelta": 2, "maxDelta": 1}}]),
        "minDelta must not be above maxDelta",
    ),
    "boundaries in a cosine": (
        training(optimizer={"schedule": {"boundaries": [10]}}),
        "boundaries are only valid with type step",
    ),
    "a step schedule without boundaries": (
        training(optimizer={"schedule": {"type": "step"}}),
        "type step needs boundaries",
    ),
    "warm-up beyond the decay": (
        training(optimizer={"schedule": {"warmupSteps": 50, "decaySteps": 50}}),
        "warmupSteps and holdSteps together must be below decaySteps",
    ),
    "a warm-up and a hold longer than the decay": (
        training(optimizer={"schedule": {"warmupSteps": 30, "holdSteps": 20, "decaySteps": 50}}),
        "warmupSteps and holdSteps together must be below decaySteps",
    ),
    "an exponential schedule without decaySteps": (
        training(optimizer={"schedule": {"type": "exponential"}}),
        "type exponential needs decaySteps",
    ),
    "rates that are not one for each boundary": (
        training(optimizer={"schedule": {"type": "step", "boundaries": [10], "rates": [1, 2]}}),
        "rates are only valid with type step, one rate for each boundary",
    ),
    "a schedule that ends at rate 0 before the steps do": (
        training(optimizer={"schedule": {"finalFraction": 0, "decaySteps": 50}}),
        "the learning rate would be 0 after decaySteps",
    ),
    "early stopping without evaluations": (
        training(earlyStopping={"patience": 3}),
        "earlyStopping compares evaluations during the run",
    ),
    "two augmentations in one": (
        training(augmentation=[{"randomHorizontalFlip": {}, "randomVerticalFlip": {}}]),
        "exactly one of randomHorizontalFlip",
    ),
    "a pod template field outside the closed list": (
        training(podTemplate={"hostNetwork": True}),
        'unknown field "spec.podTemplate.hostNetwork"',
    ),
    "a volume whose name is an object": (
        training(podTemplate={"volumes": [{"name": {"a": "b"}}]}),
        "spec.podTemplate.volumes[0].name",
    ),
    "an affinity that is nested without end": (
        training(podTemplate={"affinity": {"nodeAffinity": {"a": {"b": {}}}}}),
        'unknown field "spec.podTemplate.affinity.nodeAffinity.a"',
    ),
    "more variables than a pod needs": (
        training(podTemplate={"env": [{"name": f"V{n}"} for n in range(65)]}),
        "must have at most 64 items",
    ),
    "a value of 10 KB": (
        training(podTemplate={"env": [{"name": "V", "value": "x" * 10_000}]}),
        "Too long",
    ),
    "a learning rate of 0": (training(optimizer={"learningRate": 0}), "greater than 0"),
}


@pytest.mark.parametrize("document", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepts(kube: Kube, namespace: str, document: Object) -> None:
    stored = kube.create(TRAININGS.format(namespace=namespace), document, dry_run=True)
    assert stored["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize(("document", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(kube: Kube, namespace: str, document: Object, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        kube.create(TRAININGS.format(namespace=namespace), document, dry_run=True)
    assert refused.value.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
    assert message in refused.value.message


def test_an_unknown_field_is_dropped_where_the_client_asks_for_no_validation(
    kube: Kube, namespace: str
) -> None:
    path = TRAININGS.format(namespace=namespace) + "?fieldValidation=Ignore&dryRun=All"
    stored = kube.request("POST", path, changed(BASE, "spec.stepps", 5))
    assert "stepps" not in stored["spec"]


@pytest.mark.parametrize("levels", [250, 1200, 9000])
def test_what_is_nested_deep_is_dropped(kube: Kube, namespace: str, levels: int) -> None:
    path = TRAININGS.format(namespace=namespace) + "?fieldValidation=Ignore&dryRun=All"
    document = training(podTemplate={"affinity": {"a": nested(levels)}})
    stored = kube.request("POST", path, api_bytes(document))
    assert stored["spec"]["podTemplate"]["affinity"] == {}


STARTED: Object = {
    "observedGeneration": 1,
    "latestCheckpoint": {
        "step": 10,
        "uri": "s3://runs/trees/step-00000010",
        "digest": "sha256:" + "0" * 64,
        "savedAt": "2026-01-01T00:00:00Z",
    },
    "schedule": {"decaySteps": 100, "cycles": [{"start": 0, "decaySteps": 100}]},
}

FIXED: dict[str, tuple[str, Any]] = {
    "model": ("spec.model.imageSize", 96),
    "dataset": ("spec.dataset.classes", ["tree", "car"]),
    "restore added": ("spec.restore", FROM_TRAINING),
    "continueFrom added": ("spec.continueFrom", {"uri": "s3://runs/b"}),
    "batch size": ("spec.batchSize", 8),
    "seed": ("spec.seed", 7),
    "deterministic": ("spec.deterministic", True),
    "freeze": ("spec.freeze", ["backbone"]),
    "augmentation": ("spec.augmentation", [{"randomVerticalFlip": {}}]),
    "optimizer": ("spec.optimizer.learningRate", 0.5),
    "clipping": ("spec.optimizer.gradientClipNorm", 3.0),
    "schedule": ("spec.optimizer.schedule.warmupSteps", 3),
    "schedule's decay": ("spec.optimizer.schedule.decaySteps", 50),
    "storage": ("spec.checkpoints.storage.uri", "s3://runs/elsewhere"),
}

FREE: dict[str, tuple[str, Any]] = {
    "steps": ("spec.steps", 500),
    "suspend": ("spec.suspend", True),
    "retention": ("spec.checkpoints.keepLast", 2),
    "retries": ("spec.retryPolicy.maxRetries", 1),
    "deadline": ("spec.activeDeadlineSeconds", 60),
    "ttl": ("spec.ttlSecondsAfterFinished", 60),
    "pod template": ("spec.podTemplate.nodeSelector", {"a": "b"}),
    "resources": ("spec.resources.limits", {"cpu": "2"}),
    "workers": ("spec.workers", 2),
    "exports": ("spec.exports", ["SavedModel"]),
    "pictures of an evaluation": ("spec.evaluation.sampleImages", 0),
    "what raised steps mean": ("spec.optimizer.schedule.onExtend", "Restart"),
}


@pytest.fixture
def started(kube: Kube, namespace: str) -> str:
    """Return the path of a training that has a checkpoint."""
    collection = TRAININGS.format(namespace=namespace)
    kube.create(collection, training("started"))
    path = f"{collection}/started"
    kube.patch(path + "/status", {"status": STARTED})
    return path


@pytest.mark.parametrize(("field", "value"), FIXED.values(), ids=FIXED.keys())
def test_a_started_training_keeps(kube: Kube, started: str, field: str, value: Any) -> None:
    with pytest.raises(ApiError, match="cannot change once the training has a checkpoint") as error:
        kube.patch(started, changed({}, field, value))
    [named] = re.findall(r"(spec\.[\w.]+) cannot change", error.value.message)
    assert field.startswith(named)
    assert "restore.from.trainingRef" in error.value.message


def test_a_default_may_be_written_out_in_a_started_training(kube: Kube, started: str) -> None:
    schedule = {"type": "cosine", "warmupSteps": 0, "finalFraction": 0.01}
    optimizer = {"name": "momentum", "momentum": 0.9, "schedule": schedule}
    found = kube.patch(started, {"spec": {"seed": 0, "optimizer": optimizer}})
    assert found["metadata"]["generation"] == 2, "the spec changed"


def test_a_spec_is_stored_as_it_was_written(kube: Kube, namespace: str) -> None:
    written = training("as-written", optimizer={"schedule": {}}, exports=["SavedModel"])
    stored = kube.create(TRAININGS.format(namespace=namespace), written)
    assert stored["spec"] == written["spec"]


@pytest.mark.parametrize(("field", "value"), FREE.values(), ids=FREE.keys())
def test_a_started_training_may_change(kube: Kube, started: str, field: str, value: Any) -> None:
    found = kube.patch(started, changed({}, field, value))
    assert found["metadata"]["generation"] == 2, "the spec changed"


@pytest.mark.parametrize(("field", "value"), FIXED.values(), ids=FIXED.keys())
def test_before_the_first_checkpoint_a_typo_can_be_corrected(
    kube: Kube, namespace: str, field: str, value: Any
) -> None:
    collection = TRAININGS.format(namespace=namespace)
    kube.create(collection, training("fresh"))
    kube.patch(f"{collection}/fresh/status", {"status": {"observedGeneration": 1}})
    found = kube.patch(f"{collection}/fresh", changed({}, field, value))
    assert found["metadata"]["generation"] == 2, "the spec changed"


def test_a_started_training_keeps_its_pipeline_config_and_may_have_more_steps(
    kube: Kube, namespace: str
) -> None:
    collection = TRAININGS.format(namespace=namespace)
    path = f"{collection}/configured"
    fields: Object = {"model": None, "steps": None, "pipelineConfig": {"inline": "model { }"}}
    kube.create(collection, training("configured", **fields))
    kube.patch(path + "/status", {"status": STARTED})
    for changed_to in ({"inline": "model { ssd { } }"}, None):
        with pytest.raises(ApiError, match="pipelineConfig"):
            kube.patch(path, {"spec": {"pipelineConfig": changed_to}})
    kube.patch(path, {"spec": {"steps": 500}})


def test_steps_cannot_be_raised_where_the_rate_would_be_zero(kube: Kube, namespace: str) -> None:
    collection = TRAININGS.format(namespace=namespace)
    path = f"{collection}/cosine"
    kube.create(collection, training("cosine", optimizer={"schedule": {"finalFraction": 0}}))
    kube.patch(path + "/status", {"status": STARTED})
    with pytest.raises(ApiError, match="learning rate would be 0 for the added steps"):
        kube.patch(path, {"spec": {"steps": 200}})
    extended = {"steps": 200, "optimizer": {"schedule": {"onExtend": "Restart"}}}
    kube.patch(path, {"spec": extended})


def test_the_status_of_a_started_training_can_always_be_written(kube: Kube, started: str) -> None:
    stored = kube.patch(started + "/status", {"status": {"step": 20}})
    assert stored["status"]["step"] == 20


def _messages(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(_messages, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    rules = schema.get(CEL_KEY, [])
    here = {rule["message"] for rule in rules if "messageExpression" not in rule}
    for rule in rules:
        here |= set(re.findall(r"spec\.[\w.]+ cannot change", rule.get("messageExpression", "")))
    return here.union(*map(_messages, schema.values()))


def test_every_rule_has_an_example_that_it_refuses() -> None:
    shown = [message for _, message in REFUSED.values()]
    for field, _ in FIXED.values():
        names = field.split(".")
        shown += [f"{'.'.join(names[:depth])} cannot change" for depth in range(2, len(names) + 1)]
    shown += ["learning rate would be 0 for the added steps", "spec.pipelineConfig cannot change"]
    untested = [m for m in _messages(build_crd()) if not any(part in m for part in shown)]
    assert untested == []


def test_the_table_that_kubectl_prints(kube: Kube, started: str) -> None:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = kube.request("GET", started, accept=accept)
    names = [column["name"] for column in table["columnDefinitions"]]
    assert names == ["Name", "Phase", "Step", "Of", "Loss", "mAP", "Checkpoint", "Age"]
    assert table["rows"][0]["cells"][6] == 10

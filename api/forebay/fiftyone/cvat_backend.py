"""FiftyOne's backend for CVAT, with media that CVAT loads from their bucket.

FiftyOne's configuration names this module (see `forebay.fiftyone.cvat_registration`), and FiftyOne imports it
when a dataset is annotated with CVAT.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import fiftyone.core.media as fom
import fiftyone.core.utils as fou
import fiftyone.utils.cvat as fouc

from forebay.cvat import undoing
from forebay.cvat.login import explain_login_errors
from forebay.cvat.server import CvatServer
from forebay.cvat.task_media import check_frames, import_media
from forebay.cvat.undoing import remove_all
from forebay.cvat.video_lengths import check_length
from forebay.errors import CvatError
from forebay.fiftyone.adapter_log import log
from forebay.fiftyone.cvat_plan import CloudPlan, make_plan

_DEFAULT_TIMEOUT_SECONDS = 3600.0
_MAX_DEFAULT_TASK_SIZE = 2000


def backend_config(
    name: str, label_schema: Any, cloud_manifest: Any = None, cloud_storage_id: Any = None, **parameters: Any
) -> Any:
    """Makes FiftyOne's own configuration of a CVAT backend; with a cloud argument, Forebay's."""
    if not cloud_manifest and cloud_storage_id is None:
        parameters.pop("cloud_timeout", None)
        return fouc.CVATBackendConfig(name, label_schema, **parameters)
    return CVATBackendConfig(
        name, label_schema, cloud_manifest=cloud_manifest, cloud_storage_id=cloud_storage_id, **parameters
    )


class CVATBackendConfig(fouc.CVATBackendConfig):  # type: ignore[misc]
    """The configuration of a run whose media CVAT loads from their bucket.

    Args:
        cloud_manifest: the URI of the manifest, or true for ``manifest.jsonl`` at the root of the bucket.
        cloud_storage_id: CVAT's number of the cloud storage; by default the one of the samples' bucket.
        cloud_timeout: how long CVAT may take to import the media of a task, in seconds.
        parameters: as FiftyOne's own.
    """

    def __init__(
        self,
        name: str,
        label_schema: Any,
        cloud_manifest: str | bool | None = None,
        cloud_storage_id: int | None = None,
        cloud_timeout: float = _DEFAULT_TIMEOUT_SECONDS,
        **parameters: Any,
    ) -> None:
        super().__init__(name, label_schema, **parameters)
        self.cloud_manifest = cloud_manifest
        self.cloud_storage_id = cloud_storage_id
        self.cloud_timeout = cloud_timeout


class CVATBackend(fouc.CVATBackend):  # type: ignore[misc]
    """Creates tasks whose media CVAT loads itself."""

    def _connect_to_api(self) -> CloudAPI:
        config = self.config
        return CloudAPI(
            config.name,
            config.url,
            username=config.username,
            email=config.email,
            password=config.password,
            headers=config.headers,
            organization=config.organization,
        )

    def register_run(self, samples: Any, key: Any, overwrite: bool = True, cleanup: bool = True) -> None:
        """Checks everything before it registers the run, so that the key stays free when a check fails.

        Raises:
            CvatError: CVAT cannot load these samples from their bucket.
        """
        self.validate_run(samples, key, overwrite=overwrite)
        self._plan = make_plan(samples, self.config, self.connect_to_api().server)
        super().register_run(samples, key, overwrite=overwrite, cleanup=cleanup)

    def upload_annotations(self, samples: Any, anno_key: str, launch_editor: bool = False) -> Any:
        """Creates the tasks.

        Raises:
            CvatError: CVAT cannot import the media; what was created is removed, or named if CVAT does
                not let it be removed.
        """
        api = self.connect_to_api()
        api.begin(self._plan, self.config.cloud_timeout)
        try:
            return super().upload_annotations(samples, anno_key, launch_editor=launch_editor)
        except BaseException as error:
            try:
                left = api.undo()
            finally:
                self.delete_run(samples, anno_key, cleanup=False)
            if left:
                _tell_what_is_left(error, left)
            raise
        finally:
            api.end()


class CloudAPI(fouc.CVATAnnotationAPI):  # type: ignore[misc]
    """FiftyOne's client of CVAT, whose tasks get their media from a bucket."""

    _plan: CloudPlan | None = None

    def _setup(self) -> None:
        # FiftyOne's client logs in here.
        with explain_login_errors(self._url):
            super()._setup()

    @property
    def server(self) -> CvatServer:
        """The same server, with the same session; like FiftyOne's client, it does not verify certificates."""
        return CvatServer(self.base_url, self._session, verify=False)

    def begin(self, plan: CloudPlan, timeout_seconds: float) -> None:
        """Makes the tasks that are created from now on load the planned media."""
        self._plan, self._timeout_seconds = plan, timeout_seconds
        self._tasks: list[int] = []
        self._projects: list[int] = []

    def end(self) -> None:
        """Ends what `begin` began; later tasks are FiftyOne's own."""
        self._plan = None

    def undo(self) -> str:
        """Removes the tasks and projects that were created since `begin`; says which of them are left."""
        created = [("tasks", number) for number in self._tasks]
        created += [("projects", number) for number in self._projects]
        return remove_all(self.server, created, wait_seconds=undoing.WAIT_SECONDS, tell=log.warning)

    def post(self, url: str, **arguments: Any) -> Any:
        """As FiftyOne's; records the tasks and projects that it creates, for `undo`."""
        response = super().post(url, **arguments)
        if self._plan is not None and url in (self.tasks_url, self.projects_url):
            made = self._tasks if url == self.tasks_url else self._projects
            made.append(response.json()["id"])
        return response

    def upload_data(
        self,
        task_id: int,
        paths: Sequence[str],
        image_quality: int = 75,
        use_cache: bool = True,
        use_zip_chunks: bool = True,
        chunk_size: int | None = None,
        job_assignees: Sequence[str] | None = None,
        job_reviewers: Any = None,
        frame_start: int | None = None,
        frame_stop: int | None = None,
        frame_step: int | None = None,
    ) -> list[int]:
        """Lets CVAT import a task's media from the bucket, and verifies the frames.

        Raises:
            CvatError: CVAT cannot import them, or its frames differ from the samples.
        """
        if self._plan is None:
            uploaded: list[int] = super().upload_data(
                task_id,
                paths,
                image_quality=image_quality,
                use_cache=use_cache,
                use_zip_chunks=use_zip_chunks,
                chunk_size=chunk_size,
                job_assignees=job_assignees,
                job_reviewers=job_reviewers,
                frame_start=frame_start,
                frame_stop=frame_stop,
                frame_step=frame_step,
            )
            return uploaded
        options = {
            "image_quality": image_quality,
            "use_cache": use_cache,
            "use_zip_chunks": use_zip_chunks,
            "chunk_size": chunk_size,
            "start_frame": frame_start,
            "stop_frame": frame_stop,
            "frame_filter": None if frame_step is None else f"step={frame_step}",
        }
        keys = [self._plan.keys[path] for path in paths]
        with fou.ProgressBar(total=len(paths), iters_str="imported") as bar:
            import_media(
                self.server,
                task_id,
                self._plan.storage_id,
                keys,
                manifest=self._plan.manifest,
                timeout_seconds=self._timeout_seconds,
                progress=_show_on(bar, len(paths)),
                **{name: value for name, value in options.items() if value is not None},
            )
        if len(paths) == 1 and paths[0] in self._plan.lengths:
            check_length(self.server, task_id, keys[0], self._plan.lengths[paths[0]], options)
        sizes = [self._plan.sizes.get(path) for path in paths]
        check_frames(self.server, task_id, keys, sizes, *self._plan.remedy)
        job_ids: list[int] = self._get_job_ids(task_id)
        for number, job_id in enumerate(job_ids if job_assignees else ()):
            self._assign(job_id, job_assignees[number % len(job_assignees)])  # type: ignore[index, arg-type]
        return job_ids

    def _assign(self, job_id: int, username: str | None) -> None:
        user_id = self.get_user_id(username)
        if username is not None and user_id is not None:
            self.patch(self.taskless_job_url(job_id), json={self.assignee_key: user_id})

    def _get_batch_size(self, samples: Any, task_size: int | None) -> int:
        """As FiftyOne's, which by default makes one task of all images, and warns about uploads."""
        if samples.media_type == fom.VIDEO:
            return 1
        return default_task_size(len(samples)) if task_size is None else min(task_size, len(samples))


def default_task_size(count: int) -> int:
    """Divides images into the fewest tasks that CVAT imports in seconds, of about the same size.

    CVAT looks for each image in a list of all that its import names, so its time grows with the square.
    """
    return math.ceil(count / math.ceil(count / _MAX_DEFAULT_TASK_SIZE)) if count else 1


def _tell_what_is_left(error: BaseException, left: str) -> None:
    """Raises an error that also says what could not be removed; leaves an interrupt an interrupt."""
    if isinstance(error, Exception):
        raise CvatError(f"{str(error).rstrip('.')}. {left}") from error
    log.error(left)
    if isinstance(error, KeyboardInterrupt):
        error.args = (left,)


def _show_on(bar: Any, total: int) -> Callable[[float], None]:
    def show(share: float) -> None:
        bar.set_iteration(max(bar.iteration, int(share * total)))

    return show

"""The kernel that a warm process's worker has forked (see `warm`), as an entry point of jupyter_client."""

import os
from typing import Any, cast

from jupyter_client.provisioning import LocalProvisioner

from ssrobust_lib.running import warm


class ForkedKernel(LocalProvisioner):
    """A local kernel that is forked where this process has one ready, and started as usual where it has none."""

    async def launch_kernel(self, cmd: list[str], **options: Any) -> Any:
        """Start the kernel; its connection info."""
        kernel = warm.take_kernel()
        if kernel is None:
            return await super().launch_kernel(cmd, **options)
        kernel.start(cmd, options.get("env") or dict(os.environ), str(options.get("cwd") or os.getcwd()))
        self.process, self.pid = cast(Any, kernel), kernel.pid
        return self.connection_info

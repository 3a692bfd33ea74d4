"""Where ffmpeg is."""

import shutil


def ffmpeg_executable() -> str:
    """The system's ffmpeg if there is one, else the one in the imageio-ffmpeg package."""
    import imageio_ffmpeg

    return shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()

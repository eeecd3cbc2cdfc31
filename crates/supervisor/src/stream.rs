//! Where a job's standard streams lead.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ChildStderr, ChildStdin, ChildStdout};

/// One of a job's standard streams. Everything that owns a descriptor (a file,
/// one end of a pipe or of a socket) can be one.
#[derive(Debug, Default)]
pub enum Stream {
    /// The caller's own.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// A pipe, whose other end the [`crate::Handle`] hands out.
    Piped,
    /// None: the job is started without it. What it opens first may then take its
    /// place.
    Closed,
    /// This descriptor.
    Descriptor(OwnedFd),
}

impl<T: Into<OwnedFd>> From<T> for Stream {
    fn from(descriptor: T) -> Stream {
        Stream::Descriptor(descriptor.into())
    }
}

/// The ends of the streams that the job gets; `None` where it inherits.
pub(crate) type JobEnds = [Option<OwnedFd>; 3];

/// Which streams the job is started without.
pub(crate) fn closed(streams: &[Stream; 3]) -> [bool; 3] {
    streams
        .each_ref()
        .map(|stream| matches!(stream, Stream::Closed))
}

/// The ends of pipes that stay here. All are closed on `exec`, so that no
/// other job holds them open.
#[derive(Debug, Default)]
pub(crate) struct OwnEnds {
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

/// Makes the pipes and opens what is to be opened.
pub(crate) fn open(streams: [Stream; 3]) -> io::Result<(JobEnds, OwnEnds)> {
    let [stdin, stdout, stderr] = streams;
    let (job_in, own_in) = match stdin {
        Stream::Piped => {
            let (reader, writer) = io::pipe()?;
            (Some(reader.into()), Some(OwnedFd::from(writer).into()))
        }
        other => (descriptor(other)?, None),
    };
    let (job_out, own_out) = output(stdout)?;
    let (job_err, own_err) = output(stderr)?;
    let own = OwnEnds {
        stdin: own_in,
        stdout: own_out.map(ChildStdout::from),
        stderr: own_err.map(ChildStderr::from),
    };
    Ok(([job_in, job_out, job_err], own))
}

fn output(stream: Stream) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    match stream {
        Stream::Piped => {
            let (reader, writer) = io::pipe()?;
            Ok((Some(writer.into()), Some(reader.into())))
        }
        other => Ok((descriptor(other)?, None)),
    }
}

/// `None`: inherited, or closed later. A pipe is made by the caller, who knows its direction.
fn descriptor(stream: Stream) -> io::Result<Option<OwnedFd>> {
    match stream {
        Stream::Inherit | Stream::Closed | Stream::Piped => Ok(None),
        Stream::Null => {
            let null = File::options().read(true).write(true).open("/dev/null")?;
            Ok(Some(null.into()))
        }
        Stream::Descriptor(descriptor) => Ok(Some(descriptor)),
    }
}

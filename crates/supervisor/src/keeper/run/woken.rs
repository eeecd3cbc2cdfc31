//! Waiting for something to happen, and what it was.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use memcap_linux::proc;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;

use super::watch::Watch;
use super::{Keeper, rest, timespec};
use crate::Moment;
use crate::governor::Input;
use crate::keeper::job_control::{Act, Event};
use crate::keeper::seat::Seat;
use crate::keeper::tree::{self, Turn};
use crate::wire::{FromKeeper, ToKeeper};

/// Who spoke while the loop slept.
pub(super) struct Woken {
    children: bool,
    stream: bool,
    host: bool,
    oom: bool,
    tasks: bool,
    bell: bool,
    alarm: bool,
}

impl Keeper {
    /// Sleeps until a descriptor speaks or the governor wants to be asked.
    pub(super) fn wait<'a>(&'a self, watch: &'a Watch<'_>) -> io::Result<Woken> {
        let channel = self.stream.as_fd();
        let readable = PollFlags::POLLIN;
        // Nothing is asked of a place that nobody takes.
        let place = |taken: Option<(BorrowedFd<'a>, PollFlags)>| {
            let (fd, flags) = taken.unwrap_or((channel, PollFlags::empty()));
            PollFd::new(fd, flags)
        };
        let children = self.role.ended(watch.main.pidfd.as_ref());
        let host = self.host.as_ref().map(AsFd::as_fd);
        let oom = watch.enclosure.oom_signal();
        let tasks = watch.enclosure.task_signal();
        let bell = watch.seat.as_ref().map(Seat::ear);
        let alarm = watch.roll_call.alarm();
        let mut fds = [
            PollFd::new(channel, readable),
            place(children.map(|fd| (fd, readable))),
            place(host.map(|fd| (fd, readable))),
            place(oom),
            place(tasks),
            place(bell.map(|fd| (fd, readable))),
            place(alarm.map(|fd| (fd, readable))),
        ];
        // Gone, and reaped by somebody else, before there was a handle on it.
        let is_lost = children.is_none().then_some(Duration::ZERO);
        let timeout = is_lost
            .or_else(|| watch.wake_at())
            .map(|at| timespec(at.saturating_sub(watch.now())));
        match ppoll(&mut fds, timeout, None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let spoke = |index: usize| fds[index].any() == Some(true);
        Ok(Woken {
            children: children.is_none() || spoke(1),
            stream: spoke(0),
            host: host.is_some() && spoke(2),
            oom: oom.is_some() && spoke(3),
            tasks: tasks.is_some() && spoke(4),
            bell: bell.is_some() && spoke(5),
            alarm: alarm.is_some() && spoke(6),
        })
    }

    /// What happened, most urgent first, added to `inputs`.
    pub(super) fn inputs(
        &mut self,
        woken: &Woken,
        watch: &mut Watch<'_>,
        inputs: &mut Vec<Input>,
    ) -> io::Result<()> {
        if woken.oom {
            watch.enclosure.acknowledge_oom_signal();
        }
        // The kernel signals the end of a group like an OOM kill in it.
        if woken.oom && watch.enclosure.has_lost_its_limit() {
            inputs.push(Input::LimitLost);
        }
        let looked = watch.look_below_if_due();
        if (woken.oom || woken.children || looked) && watch.enclosure.kernel_has_killed() {
            inputs.push(Input::KernelOom);
        }
        if (woken.tasks || woken.children) && watch.enclosure.has_refused_a_task() == Some(true) {
            inputs.push(Input::TooManyProcesses);
        }
        if woken.children {
            self.role.acknowledge();
            self.take_turns(watch, inputs);
            if watch.reaped.main.is_some() || watch.reaped.childless {
                inputs.push(Input::MainEnded);
            }
        }
        if woken.host {
            inputs.push(Input::HostGone);
        }
        if woken.stream {
            self.inbox.fill(&self.stream)?;
            while let Some(message) = self.inbox.take()? {
                match message {
                    ToKeeper::Signal(nix::libc::SIGCONT) => {
                        let seen = Moment::now();
                        self.request(watch, Event::ContinueAsked { seen }, inputs);
                    }
                    ToKeeper::ContinueAsked { seen } => {
                        self.request(watch, Event::ContinueAsked { seen }, inputs);
                    }
                    ToKeeper::StopAsked { went_on } => {
                        self.request(watch, Event::StopAsked { went_on }, inputs);
                    }
                    ToKeeper::Signal(signal) => watch.signal_main(signal),
                    ToKeeper::Stop => inputs.push(Input::StopAsked),
                    ToKeeper::Kill => inputs.push(Input::KillAsked),
                    ToKeeper::Look => {
                        inputs.push(watch.look());
                        let (current, peak) = watch.sizes();
                        self.tell(&FromKeeper::Looked { current, peak });
                    }
                    ToKeeper::Start(_) => {}
                }
            }
            if self.inbox.is_closed() {
                inputs.push(Input::HostGone);
            }
        }
        if woken.bell && watch.seat.as_mut().is_some_and(Seat::has_heard) {
            watch.governor.look_soon();
        }
        if watch.governor.look_is_due(watch.now()) {
            inputs.push(watch.look());
            if let Some(message) = watch.due_sample() {
                self.tell(&message);
            }
        }
        inputs.extend(watch.take_turn());
        inputs.extend(watch.beside.look(watch.enclosure, watch.now()));
        let now = watch.now();
        if woken.alarm {
            watch.roll_call.ring(now);
        }
        if watch.roll_call.look_if_due(watch.enclosure, now, rest) {
            if watch.enclosure.has_lost_its_limit() {
                inputs.push(Input::LimitLost);
            }
            watch.look_at_limits();
            watch.enclosure.look_below();
            if watch.enclosure.kernel_has_killed() {
                inputs.push(Input::KernelOom);
            }
        }
        inputs.extend(watch.throttle());
        watch.record_what_is_due();
        inputs.push(Input::Tick);
        Ok(())
    }

    /// Takes note of what has become of the main process.
    fn take_turns(&self, watch: &mut Watch<'_>, inputs: &mut Vec<Input>) {
        tree::reap(watch.family, watch.main, &mut watch.reaped);
        for turn in std::mem::take(&mut watch.reaped.turns) {
            let (event, input) = match turn {
                Turn::Stopped(signal) => (Event::MainStopped(signal), Input::MainStopped),
                Turn::Continued => (Event::MainContinued, Input::MainContinued),
            };
            self.control(watch, event);
            inputs.push(input);
        }
    }

    /// A request of the front's, held against what the main process does by now.
    /// (Should it end meanwhile, the loop is woken by that all the same.)
    fn request(&self, watch: &mut Watch<'_>, event: Event, inputs: &mut Vec<Input>) {
        self.take_turns(watch, inputs);
        self.control(watch, event);
    }

    /// Does what a step of job control asks for.
    fn control(&self, watch: &mut Watch<'_>, event: Event) {
        match watch.job_control.on(event) {
            Act::Nothing => {}
            Act::StopMain => watch.signal_main(Signal::SIGTSTP as i32),
            Act::ContinueMain => {
                if watch.main_is_still_stopped() {
                    watch.continue_main();
                }
            }
            Act::TakeBack => watch.continue_main(),
            Act::StopFront(signal) => {
                let at = Moment::now();
                if self.signal_front(watch, signal) {
                    watch.job_control.on(Event::FrontStopped { at });
                }
            }
            Act::ContinueFront => {
                if self.front_is_to_be_continued(watch) {
                    self.signal_front(watch, Signal::SIGCONT);
                }
            }
        }
    }

    /// Who continues a group has continued the front too, and a SIGCONT that comes
    /// after would discard a SIGTSTP on its way to it.
    fn front_is_to_be_continued(&self, watch: &Watch<'_>) -> bool {
        let front = watch.spec.host.filter(|_| proc::is_ours());
        front.is_none_or(|front| proc::is_stopped_or_about_to(front.pid).unwrap_or(true))
    }

    /// Stops the embedding program when the job stops, so that the shell that
    /// waits for it takes the terminal back; continues it with the job. Whether
    /// there is one that wants it.
    fn signal_front(&self, watch: &Watch<'_>, signal: Signal) -> bool {
        let host = self.host.as_ref().filter(|_| watch.spec.mirrors_stops);
        // Gone is noticed by the poll.
        host.is_some_and(|host| host.send(signal as i32).is_ok())
    }
}

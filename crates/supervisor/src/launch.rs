//! Starting jobs: plan, keeper, and the words with it until the job runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;

use memcap_linux::{ProcessId, signals};
use memcap_probe::{Host, Roots};

use crate::budget::Place;
use crate::conversation::Conversation;
use crate::error::KeeperRefusal;
use crate::guardian::Guardian;
use crate::handle::Control;
use crate::keeper;
use crate::keeper::start::{self, EnvChanges};
use crate::plan::{ceilings, needs_systemd, plan};
use crate::proof::{self, PlannedProof};
use crate::stream::{self, JobEnds};
use crate::supervisor::Keeping;
use crate::wire::{Inbox, Prepared, Spec, ToKeeper, Word};
use crate::{
    Handle, LeasePolicy, Limits, Mechanism, MechanismChoice, Outcome, Plan, PlanError, Rejected,
    Request, Supervisor, SupervisorError,
};

impl Supervisor {
    /// What would be done on this host. Starts nothing.
    ///
    /// # Errors
    /// When no mechanism fits.
    pub fn plan(&self, request: &Request) -> Result<Plan, SupervisorError> {
        let (mut host, mechanism) = self.observe(request.mechanism)?;
        let refused = self.refused_here();
        let plan = choose(&request.limits, mechanism, &mut host, &refused)?;
        Ok(self.finished(plan, &host))
    }

    /// Runs a job to its end.
    ///
    /// # Errors
    /// When nothing could be started. A failing job is an [`Outcome`].
    pub fn run(&self, request: Request) -> Result<Outcome, SupervisorError> {
        self.spawn(request)?.wait()
    }

    /// Starts a job. When this returns, it runs under its limit, or it is
    /// already known why not.
    ///
    /// # Errors
    /// When no mechanism fits or the keeper does not start.
    pub fn spawn(&self, request: Request) -> Result<Handle, SupervisorError> {
        self.spawn_as_planned(request, |_| {})
    }

    /// As [`Supervisor::spawn`]; `tell` is shown the plan before anything is
    /// started.
    ///
    /// # Errors
    /// As [`Supervisor::spawn`].
    pub fn spawn_as_planned(
        &self,
        request: Request,
        tell: impl FnOnce(&Plan),
    ) -> Result<Handle, SupervisorError> {
        self.launch(request, tell, None)
    }

    /// As [`Supervisor::spawn_as_planned`], as a member of a budget where there is
    /// one.
    pub(crate) fn launch(
        &self,
        request: Request,
        tell: impl FnOnce(&Plan),
        place: Option<Place>,
    ) -> Result<Handle, SupervisorError> {
        let Request {
            job,
            limits,
            mechanism,
            sample_every,
            record,
            trace,
            lease,
            expected_peak: _,
        } = request;
        let mechanism = place.as_ref().map_or(mechanism, Place::mechanism);
        if keeper::is_without_hook() {
            return Err(SupervisorError::NoHook);
        }
        if self.owns_children {
            signals::keep_dead_children();
            nix::sys::prctl::set_child_subreaper(true)
                .map_err(|errno| SupervisorError::Channel(errno.into()))?;
        }
        let (mut host, mechanism) = self.observe(mechanism)?;
        let mut refused = self.refused_here();
        refused.extend(place.iter().flat_map(Place::refused));
        let choose = |host: &mut Host, refused: &[Rejected]| match &place {
            Some(place) => place.plan(&limits, |own| choose(own, mechanism, host, refused)),
            None => choose(&limits, mechanism, host, refused),
        };
        let mut chosen = choose(&mut host, &refused).map(|plan| self.finished(plan, &host))?;
        tell(&chosen);
        let closed_streams = stream::closed(&job.streams);
        let (theirs, ours) = stream::open(job.streams).map_err(SupervisorError::Stream)?;
        let carried = place.as_ref().map(Place::descriptors).transpose()?;
        let seating = place
            .as_ref()
            .zip(carried.as_ref())
            .map(|(place, carried)| place.seating(carried));
        let (stream, guardian) = self.start_guardian(&job.env, theirs, carried)?;
        let (looks, looked) = channel();
        let control = Control::over(stream.try_clone().map_err(SupervisorError::Channel)?);
        let mut conversation = Conversation {
            reader: stream,
            inbox: Inbox::default(),
            guardian,
            plan: chosen.clone(),
            prepared: Prepared::default(),
            forwarded: control.forwarded(),
            owns_children: self.owns_children,
            place: None,
            trial: None,
            looks,
        };
        loop {
            let spec = Spec {
                program: Word(job.program.clone()),
                args: job.args.iter().cloned().map(Word).collect(),
                current_dir: job.current_dir.clone().map(|dir| Word(dir.into())),
                placement: chosen.placement.clone(),
                trial: chosen.proof == Some(PlannedProof::Fresh),
                containment_base: chosen.containment_base.clone(),
                surroundings: chosen.surroundings.clone(),
                limit: chosen.limit,
                swap: chosen.swap,
                soft: chosen.throttle,
                time: limits.time,
                cpu: limits.cpu,
                processes: limits.processes,
                keep_free: chosen.keep_free,
                grace: limits.grace,
                sample_every,
                record,
                trace: trace.clone().map(|file| Word(file.into())),
                lease: lease == LeasePolicy::On,
                budget: seating.clone(),
                host: ProcessId::current(),
                mirrors_stops: self.mirrors_stops,
                closed_streams,
                signal_mask: signals::blocked(),
                ignored_signals: signals::ignored_at_start(),
            };
            match control.send(&ToKeeper::Start(Box::new(spec))) {
                // Gone already: how, is learned by listening.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                sent => sent.map_err(SupervisorError::Channel)?,
            }
            // The keeper has its work by now: this costs it nothing.
            conversation.guardian.watch_over();
            let begun = conversation.begin(lease)?;
            // The job runs by now: this costs it nothing.
            proof::learn(&chosen, conversation.trial.as_ref(), &self.proofs);
            let refusal = match begun {
                Ok(outcome) => {
                    conversation.place = place;
                    return Ok(Handle::on(
                        conversation,
                        outcome,
                        chosen,
                        control,
                        looked,
                        ours,
                    ));
                }
                Err(refusal) => refusal,
            };
            proof::doubt(&chosen, &self.proofs);
            if let MechanismChoice::Only(_) = mechanism {
                return Err(KeeperRefusal(refusal).into());
            }
            refused.push(refusal);
            chosen = choose(&mut host, &refused).map(|plan| self.finished(plan, &host))?;
            conversation.plan = chosen.clone();
        }
    }

    /// The host as jobs will find it, and what may hold them there.
    fn observe(&self, asked: MechanismChoice) -> Result<(Host, MechanismChoice), SupervisorError> {
        let Some(group) = &self.below else {
            return Ok((Host::observe(&Roots::default()), asked));
        };
        let (host, there) = Host::observe_below(&Roots::default(), group)?;
        match asked {
            MechanismChoice::Only(mechanism) if mechanism != there => {
                let reason = format!("jobs are to be below {}, of {there}", group.display());
                Err(PlanError::NotAvailable { mechanism, reason }.into())
            }
            MechanismChoice::Only(_) | MechanismChoice::Auto => {
                Ok((host, MechanismChoice::Only(there)))
            }
        }
    }

    /// What a thread cannot do.
    fn refused_here(&self) -> Vec<Rejected> {
        match self.keeping {
            Keeping::Program(_) => Vec::new(),
            Keeping::Thread => vec![Rejected {
                mechanism: Mechanism::Systemd,
                reason: "a scope would take this whole program in; it needs a keeper process"
                    .into(),
            }],
        }
    }

    /// The plan as this supervisor carries it out, on this host.
    fn finished(&self, plan: Plan, host: &Host) -> Plan {
        let around = ceilings(&plan.placement, host);
        Plan {
            proof: proof::planned(&plan.placement, &around, host, &self.proofs),
            ..self.kept(plan)
        }
    }

    /// The plan with the weaker containment of a thread.
    fn kept(&self, plan: Plan) -> Plan {
        match self.keeping {
            Keeping::Program(_) => plan,
            Keeping::Thread => plan.kept_by_a_thread(),
        }
    }

    fn start_guardian(
        &self,
        env: &EnvChanges,
        streams: JobEnds,
        carried: Option<[OwnedFd; 2]>,
    ) -> Result<(UnixStream, Guardian), SupervisorError> {
        let path = match &self.keeping {
            Keeping::Program(path) => path,
            Keeping::Thread => {
                let (near, far) = UnixStream::pair().map_err(SupervisorError::Channel)?;
                let thread = keeper::in_a_thread(far, environment(env), streams, carried)
                    .map_err(SupervisorError::Thread)?;
                return Ok((near, Guardian::Thread(Some(thread))));
            }
        };
        if self.forks_keeper
            && let Some(forked) = start::fork(env, &streams).map_err(SupervisorError::ForkKeeper)?
        {
            return Ok(forked);
        }
        let carried = carried.as_ref().map_or(&[][..], |carried| carried);
        start::execute(path, env, streams, carried).map_err(|source| SupervisorError::StartKeeper {
            path: path.clone(),
            source,
        })
    }
}

impl Supervisor {
    /// The plan for limits without a request.
    pub(crate) fn plan_for(
        &self,
        limits: &Limits,
        mechanism: MechanismChoice,
        refused: &[Rejected],
    ) -> Result<Plan, SupervisorError> {
        let (mut host, mechanism) = self.observe(mechanism)?;
        let refused = [&self.refused_here(), refused].concat();
        let plan = choose(limits, mechanism, &mut host, &refused)?;
        Ok(self.kept(plan))
    }
}

/// Plans, and asks systemd first where the plan depends on it.
fn choose(
    limits: &Limits,
    mechanism: MechanismChoice,
    host: &mut Host,
    refused: &[Rejected],
) -> Result<Plan, SupervisorError> {
    if needs_systemd(limits, mechanism, host, refused) {
        host.ask_systemd(&Roots::default());
    }
    Ok(plan(limits, mechanism, host, refused)?)
}

/// Our environment with the job's changes.
fn environment(changes: &EnvChanges) -> Vec<(OsString, OsString)> {
    let mut env: BTreeMap<_, _> = std::env::vars_os().collect();
    for (name, value) in changes {
        match value {
            Some(value) => env.insert(name.clone(), value.clone()),
            None => env.remove(name),
        };
    }
    env.into_iter().collect()
}

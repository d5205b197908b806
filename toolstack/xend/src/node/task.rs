//! A domain's task: requests and restarts, one after another.

use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};

use super::{Command, Domain, Node, Status};
use crate::blueprint::Device;
use crate::error::{Error, Result};
use crate::journal::Record;
use crate::state::Phase;

pub(super) struct Request {
    pub(super) command: Command,
    pub(super) answer: Option<oneshot::Sender<Result<Option<Device>>>>,
}

/// Whether a domain's task goes on.
pub(super) enum Life {
    On,
    Over,
}

impl Node {
    pub(super) fn start_task(self: &Arc<Self>, record: Record, phase: Phase) -> Arc<Domain> {
        let (domain, requests) = new_domain(record, phase);
        self.domains().insert(domain.uuid.0, domain.clone());
        self.spawn(domain.clone(), requests);
        domain
    }

    pub(super) fn spawn(
        self: &Arc<Self>,
        domain: Arc<Domain>,
        requests: mpsc::UnboundedReceiver<Request>,
    ) {
        self.handle.spawn(live(
            Arc::downgrade(self),
            Arc::downgrade(&domain),
            requests,
        ));
    }

    /// Has a domain's task do something, and waits for it. Blocks.
    ///
    /// # Errors
    /// There is no such domain, xend does not manage it, or it fails.
    pub fn order(self: &Arc<Self>, wanted: &str, command: Command) -> Result<Option<Device>> {
        let view = self.view(wanted)?;
        let domain = self
            .domains()
            .get(&view.uuid.0)
            .cloned()
            .filter(|_| view.status.is_some());
        let Some(domain) = domain else {
            return self.order_foreign(&view, command).map(|()| None);
        };
        let (answer, answered) = oneshot::channel();
        let request = Request {
            command,
            answer: Some(answer),
        };
        let gone = || Error::not_found(format!("invalid domain:{wanted}"));
        domain.requests.send(request).map_err(|_| gone())?;
        answered.blocking_recv().map_err(|_| gone())?
    }

    /// One request to a domain's task; blocks.
    pub(super) fn handle(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        command: Command,
    ) -> (Result<Option<Device>>, Life) {
        let done = |result: Result<()>| (result.map(|()| None), Life::On);
        let status = domain.status();
        let domid = || {
            let domid = status
                .record
                .facts
                .domid
                .filter(|_| !matches!(status.phase, Phase::Building | Phase::Restarting));
            domid.ok_or_else(|| {
                Error::conflict(format!(
                    "{} is {}",
                    status.record.blueprint.spec.name,
                    status.phase.word()
                ))
            })
        };
        match command {
            Command::Unpause => done(domid().and_then(|domid| self.unpause(domain, domid))),
            Command::Pause => done(domid().and_then(|domid| self.pause(domain, domid))),
            Command::Shutdown(asked) => self.shutdown(domain, asked),
            Command::Sysrq(key) => done(domid().and_then(|domid| self.sysrq(domid, key))),
            // The one who builds it would not notice.
            Command::Destroy { .. } if status.phase == Phase::Building => done(domid().map(drop)),
            Command::Destroy { again: true } => self.restart(domain),
            Command::Destroy { again: false } => self.destroy(domain),
            Command::Attach(device) => (
                domid().and_then(|_| self.attach(domain, device)).map(Some),
                Life::On,
            ),
            Command::Detach { id, force } => {
                done(domid().and_then(|_| self.detach(domain, id, force)))
            }
            Command::Configure { id, to } => {
                let changed = domid().and_then(|_| self.configure(domain, id, to));
                (changed.map(Some), Life::On)
            }
            Command::Rename(name) => {
                done(domid().and_then(|domid| self.rename(domain, domid, &name)))
            }
            Command::Look => self.look_at(domain),
            Command::Again => self.make_again(domain),
        }
    }
}

pub(super) fn new_domain(
    record: Record,
    phase: Phase,
) -> (Arc<Domain>, mpsc::UnboundedReceiver<Request>) {
    let (sender, requests) = mpsc::unbounded_channel();
    let uuid = record.blueprint.uuid;
    let status = Status {
        record,
        phase,
        asked: None,
        due: None,
    };
    (
        Arc::new(Domain {
            uuid,
            status: Mutex::new(status),
            requests: sender,
        }),
        requests,
    )
}

/// The task of a domain: serves requests and restarts until the domain is gone or xend ends.
async fn live(
    node: std::sync::Weak<Node>,
    domain: std::sync::Weak<Domain>,
    mut requests: mpsc::UnboundedReceiver<Request>,
) {
    loop {
        let due = match domain.upgrade() {
            Some(domain) => domain.status().due,
            None => return,
        };
        let alarm = async {
            match due {
                Some(due) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let request = tokio::select! {
            request = requests.recv() => match request {
                Some(request) => request,
                None => return,
            },
            () = alarm => Request { command: Command::Again, answer: None },
        };
        let (Some(node), Some(domain)) = (node.upgrade(), domain.upgrade()) else {
            return;
        };
        let worker = (node.clone(), domain.clone(), request.command);
        let worked =
            tokio::task::spawn_blocking(move || worker.0.handle(&worker.1, worker.2)).await;
        let (result, life) =
            worked.unwrap_or_else(|error| (Err(Error::failed(error.to_string())), Life::On));
        if let Err(error) = &result
            && request.answer.is_none()
            && !error.is_killed()
        {
            node.site.log.error(&format!(
                "{}: {error}",
                domain.status().record.blueprint.spec.name
            ));
        }
        if matches!(life, Life::Over) {
            node.domains().remove(&domain.uuid.0);
        }
        if let Some(answer) = request.answer {
            let _ = answer.send(result); // The client may be gone.
        }
        if matches!(life, Life::Over) {
            return;
        }
    }
}

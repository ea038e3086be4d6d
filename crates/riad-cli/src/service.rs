//! Windows starts services, and ends them, by other ways than a console's. `sc create` with the command line of `riad serve` or
//! `riad watch` makes one.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use windows_service::{
    define_windows_service,
    service::{ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType},
    service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle},
    service_dispatcher,
};

use crate::{interrupt, logging};

/// How long it may take to end: what came is judged and stored.
const ENDING: Duration = Duration::from_secs(60);

/// The program's work; it gives the exit code.
pub(crate) type Work = Box<dyn FnOnce() -> u8 + Send>;

static WORK: Mutex<Option<Work>> = Mutex::new(None);
static STATUS: OnceLock<ServiceStatusHandle> = OnceLock::new();

define_windows_service!(entry, serve);

/// Does the work as a service if Windows has started this program as one; gives it back otherwise.
pub(crate) fn offer(work: Work) -> Option<Work> {
    // A service has no console, and Windows need not be asked where there is one.
    if io::stderr().is_terminal() {
        return Some(work);
    }
    *WORK.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
    // It returns when the service has ended. The name is not looked at in a process of one service.
    match service_dispatcher::start("riad", entry) {
        Ok(()) => None,
        Err(_) => taken(),
    }
}

fn taken() -> Option<Work> {
    WORK.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// What Windows calls on a thread of its own, with the service's name.
fn serve(arguments: Vec<OsString>) {
    let name = arguments.into_iter().next().unwrap_or_else(|| "riad".into());
    let Ok(status) = service_control_handler::register(&name, heard) else {
        return;
    };
    let _ = STATUS.set(status);
    // Nobody sees what a service prints.
    let folder = std::env::var_os("ProgramData").map_or_else(PathBuf::new, PathBuf::from);
    let mut file = name;
    file.push(".log");
    let told = logging::into_file(&folder.join("riad").join(file));
    tell(ServiceState::Running, 0);
    let code = match told {
        Ok(()) => taken().map_or(0, |work| work()),
        Err(_) => 1,
    };
    tell(ServiceState::Stopped, code);
}

fn heard(control: ServiceControl) -> ServiceControlHandlerResult {
    match control {
        ServiceControl::Stop | ServiceControl::Shutdown => {
            tell(ServiceState::StopPending, 0);
            interrupt::end();
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    }
}

fn tell(state: ServiceState, code: u8) {
    let is_running = state == ServiceState::Running;
    let status = ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: match is_running {
            true => ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN,
            false => ServiceControlAccept::empty(),
        },
        exit_code: match code {
            0 => ServiceExitCode::Win32(0),
            code => ServiceExitCode::ServiceSpecific(code.into()),
        },
        checkpoint: 0,
        wait_hint: match state {
            ServiceState::StopPending => ENDING,
            _ => Duration::ZERO,
        },
        process_id: None,
    };
    // There is nobody else to tell.
    let _ = STATUS.get().map(|handle| handle.set_service_status(status));
}

//! One request to the system extension manager, with its delegate's answers as events.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use dispatch2::DispatchQueue;
use objc2::rc::Retained;
use objc2::runtime::{NSObject, NSObjectProtocol, ProtocolObject};
use objc2::{AllocAnyThread, DefinedClass, define_class, msg_send};
use objc2_foundation::{NSError, NSString};
use objc2_system_extensions::{
    OSSystemExtensionManager, OSSystemExtensionProperties, OSSystemExtensionReplacementAction,
    OSSystemExtensionRequest, OSSystemExtensionRequestDelegate, OSSystemExtensionRequestResult,
};

use crate::activation::{Activation, Event, Goal, Replacement};

/// What the delegate's methods share.
struct Shared {
    events: Sender<Event>,
    /// Decides about replacements where the system asks: on its queue, at once.
    policy: Mutex<Activation>,
}

define_class!(
    // SAFETY: NSObject has no subclassing requirements, and Delegate does not implement Drop.
    #[unsafe(super(NSObject))]
    #[ivars = Shared]
    struct Delegate;

    // SAFETY: NSObjectProtocol has no safety requirements.
    unsafe impl NSObjectProtocol for Delegate {}

    // SAFETY: the methods have the protocol's signatures.
    unsafe impl OSSystemExtensionRequestDelegate for Delegate {
        #[unsafe(method(request:actionForReplacingExtension:withExtension:))]
        fn replacing(
            &self,
            _request: &OSSystemExtensionRequest,
            existing: &OSSystemExtensionProperties,
            bundled: &OSSystemExtensionProperties,
        ) -> OSSystemExtensionReplacementAction {
            let event = Event::Replacing { installed: version(existing), bundled: version(bundled) };
            let answer = self.ivars().policy.lock().ok().and_then(|mut policy| policy.take(&event));
            let _ = self.ivars().events.send(event);
            match answer {
                Some(Replacement::Replace) => OSSystemExtensionReplacementAction::Replace,
                _ => OSSystemExtensionReplacementAction::Cancel,
            }
        }

        #[unsafe(method(requestNeedsUserApproval:))]
        fn needs_approval(&self, _request: &OSSystemExtensionRequest) {
            let _ = self.ivars().events.send(Event::NeedsApproval);
        }

        #[unsafe(method(request:didFinishWithResult:))]
        fn finished(&self, _request: &OSSystemExtensionRequest, result: OSSystemExtensionRequestResult) {
            let _ = self.ivars().events.send(Event::Finished(result.0 as i64));
        }

        #[unsafe(method(request:didFailWithError:))]
        fn failed(&self, _request: &OSSystemExtensionRequest, error: &NSError) {
            let _ = self.ivars().events.send(Event::Failed(error.code() as i64));
        }
    }
);

impl Delegate {
    fn new(shared: Shared) -> Retained<Self> {
        let this = Self::alloc().set_ivars(shared);
        // SAFETY: init of NSObject, on a fresh allocation whose variables are set.
        unsafe { msg_send![super(this), init] }
    }
}

fn version(properties: &OSSystemExtensionProperties) -> String {
    // SAFETY: plain getters of a live object.
    let (short, build) = unsafe { (properties.bundleShortVersion(), properties.bundleVersion()) };
    format!("{short}/{build}")
}

/// Submits the request and calls `seen` for every event until the request has ended, or `patience` has passed since the
/// last one. `policy` decides about replacements.
pub fn submit(goal: Goal, dext: &str, policy: Activation, patience: Duration, mut seen: impl FnMut(&Event) -> bool) {
    let (events, received): (Sender<Event>, Receiver<Event>) = channel();
    let delegate = Delegate::new(Shared { events, policy: Mutex::new(policy) });
    let queue = DispatchQueue::new("dev.weir.activation", None);
    let id = NSString::from_str(dext);
    // SAFETY: the queue is serial and lives until the end of this function, as does the delegate, which its request
    // refers to weakly.
    let request = unsafe {
        let request = match goal {
            Goal::Uninstall => OSSystemExtensionRequest::deactivationRequestForExtension_queue(&id, &queue),
            _ => OSSystemExtensionRequest::activationRequestForExtension_queue(&id, &queue),
        };
        request.setDelegate(Some(ProtocolObject::from_ref(&*delegate)));
        OSSystemExtensionManager::sharedManager().submitRequest(&request);
        request
    };
    while let Ok(event) = received.recv_timeout(patience) {
        if seen(&event) {
            break;
        }
    }
    // SAFETY: a request may be without a delegate; this one is about to go.
    unsafe { request.setDelegate(None) };
}

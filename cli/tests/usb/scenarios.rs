//! What every class must do.

use weir_host::usb::sim::Model;

use crate::rig::up;
use crate::support::*;

#[test]
fn one_frame_each_way() {
    for model in Model::ALL {
        let rig = up(model, 1, &[]);
        assert_eq!(rig.nic.service.link().unwrap().status, 3, "{model}: link");
        assert_eq!(rig.nic.mac(), rig.device.mac(), "{model}");
        rig.device.set_respond(false);
        let out = ethernet([0xff; 6], rig.nic.mac(), 0x88b5, &[7; 50]);
        assert!(rig.send(&out));
        rig.settle();
        assert_eq!(rig.device.take(), [out], "{model}");
        let back = ethernet(rig.nic.mac(), [2, 0, 0, 0, 0, 9], 0x88b5, &[9; 47]);
        rig.device.send([back.clone()]);
        rig.settle();
        let got: Vec<_> = rig.nic.take().into_iter().map(|r| r.bytes).collect();
        assert_eq!(got, [back], "{model}");
        rig.end();
    }
}

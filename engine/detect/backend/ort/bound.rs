//! The library's own way of running a network with the least around it: tensors bound once, nothing read. A benchmark holds
//! what this crate does against it.

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::IoBinding;
use ort::session::Session;
use ort::value::Tensor;

use super::{LOADED, PoisonError, session};

/// A network whose input is bound.
pub(crate) struct Bound {
    session: Session,
    binding: IoBinding,
}

impl Bound {
    pub fn new(bytes: &[u8], shape: [usize; 4], values: &[f32], threads: usize) -> Result<Bound, String> {
        let loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(super::Loaded { environment, .. }) = &*loaded else {
            return Err("the library is not loaded".into());
        };
        let make = || -> ort::Result<Bound> {
            let session = session(environment, bytes, threads)?;
            let mut binding = session.create_binding()?;
            let name = session.inputs()[0].name().to_string();
            binding.bind_input(name, &Tensor::from_array((shape, values.to_vec()))?)?;
            let memory =
                MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
            for output in session.outputs() {
                binding.bind_output_to_device(output.name(), &memory)?;
            }
            Ok(Bound { session, binding })
        };
        make().map_err(|e| e.to_string())
    }

    pub fn run(&mut self) -> Result<(), String> {
        self.session.run_binding(&self.binding).map(drop).map_err(|e| e.to_string())
    }
}

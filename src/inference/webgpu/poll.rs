//! Waiting for a device: natively somebody has to ask whether it is done, a browser does that by itself.

pub use platform::wait;

#[cfg(not(target_arch = "wasm32"))]
mod platform {
    /// Returns when everything submitted is done.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn wait(device: &wgpu::Device) -> Result<(), wgpu::PollError> {
        device.poll(wgpu::PollType::wait_indefinitely()).map(drop)
    }
}

#[cfg(target_arch = "wasm32")]
mod platform {
    /// Returns at once.
    ///
    /// # Errors
    /// None.
    pub fn wait(_: &wgpu::Device) -> Result<(), wgpu::PollError> {
        Ok(())
    }
}

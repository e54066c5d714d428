// Resets ([1] 2.4; references in state.ts).
import { setLine } from '../bus/irq';
import { resetFunction } from '../bus/pci';
import { VIRTIO_NO_VECTOR } from './regs';
import { dropAll, queueAt, resetQueue, VirtioBlk } from './state';

/** 0 written to the status: the device is as new, its function's configuration stays. */
export function resetDevice(d: VirtioBlk): void {
  dropAll(d);
  d.status = 0;
  d.featureSelect = 0;
  d.driverSelect = 0;
  d.accepted = 0;
  d.acceptedHigh = 0;
  d.queueSelect = 0;
  d.configVector = VIRTIO_NO_VECTOR;
  d.writeback = 1;
  d.isr = 0;
  setLine(d, false);
  for (let i: u32 = 0; i < d.queueCount; i++) resetQueue(d, queueAt(d, i));
}

/** Power-on, RST#, D3hot to D0: everything. */
export function resetAll(d: VirtioBlk): void {
  resetDevice(d);
  resetFunction(d);
}

// The hardware's half of the tracer: a ring that the host empties after each call into the module.
import {
  AT_NOW,
  AT_TRACE,
  AT_TRACE_LOST,
  AT_TRACE_MASK,
  AT_TRACE_READ,
  AT_TRACE_WRITTEN,
  TRACE_MAX,
  TRACE_STRIDE,
} from './layout';
import {
  TRACE_AT_A,
  TRACE_AT_B,
  TRACE_AT_C,
  TRACE_AT_CODE,
  TRACE_AT_D,
  TRACE_AT_DEVICE,
  TRACE_AT_TIME,
} from './trace-codes';

/** Records an event if its code is in the trace mask; when the ring is full the event is counted as lost. */
export function trace(code: u32, device: u32, a: u32, b: u32, c: u32, d: u32): void {
  if ((load<u32>(AT_TRACE_MASK) & (1 << code)) == 0) return;
  const written = load<u32>(AT_TRACE_WRITTEN);
  if (written - load<u32>(AT_TRACE_READ) >= <u32>TRACE_MAX) {
    store<u32>(AT_TRACE_LOST, load<u32>(AT_TRACE_LOST) + 1);
    return;
  }
  const at: usize = AT_TRACE + (written % TRACE_MAX) * TRACE_STRIDE;
  store<u32>(at + TRACE_AT_CODE, code);
  store<u32>(at + TRACE_AT_DEVICE, device);
  store<u64>(at + TRACE_AT_TIME, load<u64>(AT_NOW));
  store<u32>(at + TRACE_AT_A, a);
  store<u32>(at + TRACE_AT_B, b);
  store<u32>(at + TRACE_AT_C, c);
  store<u32>(at + TRACE_AT_D, d);
  store<u32>(AT_TRACE_WRITTEN, written + 1);
}

// v86 has no message-signalled interrupts: nothing takes the write that is one. A guest that found a function able to
// send them would wait for ever, so those capabilities are left out of the list.
// Specification: PCI Local Bus 3.0, 6.7 (capabilities list), appendix H (capability ids).

import type { EmbeddedController } from '../embed/index.ts';

const POINTER_AT = 0x34;
const FIRST_AT = 0x40;
const MSI = 0x05;
const MSIX = 0x11;
/** As many as fit behind the header. */
const CAPABILITIES_MAX = 48;

/** The configuration bytes that lead past message-signalled interrupts, with what they are to hold. */
export function pointersPastMessages(controller: EmbeddedController): ReadonlyMap<number, number> {
  const changed = new Map<number, number>();
  let link = POINTER_AT;
  let at = controller.configRead(link, 1);
  for (let i = 0; i < CAPABILITIES_MAX && at >= FIRST_AT; i++) {
    const id = controller.configRead(at, 1);
    const next = controller.configRead(at + 1, 1);
    if (id === MSI || id === MSIX) changed.set(link, next);
    else link = at + 1;
    at = next;
  }
  return changed;
}

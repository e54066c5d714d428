// What a handler above LOCK_LEVEL may call (INTR-02): mutexes of its own priority, registers, and soft interrupts. The
// check is here, once for all functions that callers have; an interrupt's depth is what it costs the others. That nobody
// sleeps where he must not, and that user memory wants a process, the functions see to themselves.

import { KernelBug } from '../kernel/index.ts';
import type { SolarisCore } from './kernel.ts';

/** Allowed in every context. anocancel() does nothing but be compared. */
const ANY_CONTEXT: ReadonlySet<string> = new Set([
  'anocancel',
  'ddi_driver_name',
  'ddi_get_driver_private',
  'ddi_get_instance',
  'ddi_get_soft_state',
  'ddi_intr_get_hilevel_pri',
  'ddi_intr_trigger_softint',
  'ddi_trigger_softintr',
  'drv_hztousec',
  'drv_usectohz',
  'drv_usecwait',
  'ddi_get_lbolt',
]);

/** Registers: ddi_get8() … ddi_rep_put64(), pci_config_get8() … pci_config_put32(). */
const REGISTERS = /^(?:ddi_(?:rep_)?|pci_config_)(?:get|put)(?:8|16|32|64)$/;

/** Functions that look themselves, wherever they are called from, and have a rule of their own. */
const LOOK_THEMSELVES: ReadonlySet<string> = new Set([
  'biodone',
  'ddi_umem_unlock',
  'mutex_enter',
  'mutex_exit',
  'mutex_owned',
  'mutex_tryenter',
]);

/** Has every function of the kernel's throw `INTR-02` in a high-level interrupt, but those that are allowed there. */
export function guardHighLevel<Api extends object>(k: SolarisCore, api: Api): Api {
  const { cpu } = k;
  const functions = api as Record<string, unknown>;
  for (const [name, inner] of Object.entries(functions)) {
    if (typeof inner !== 'function' || ANY_CONTEXT.has(name) || LOOK_THEMSELVES.has(name)) continue;
    if (REGISTERS.test(name)) continue;
    const call = inner as (...args: unknown[]) => unknown;
    functions[name] = (...args: unknown[]): unknown => {
      if (cpu.interruptDepth > 0 && k.inHighLevel)
        throw new KernelBug('INTR-02', `${name}() in a high-level interrupt`, name);
      return call(...args);
    };
  }
  return api;
}

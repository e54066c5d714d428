// Interrupt handlers of drivers (include/linux/interrupt.h). Which line a controller drives is `controller.line`.

import { type IrqAction, KernelBug } from '../kernel/index.ts';
import { EBUSY } from './errno.ts';
import type { Linux } from './kernel.ts';

/** What a handler returns: not the device's interrupt, or it was and is dealt with. */
export const IRQ_NONE = 0;
export const IRQ_HANDLED = 1;
/** Other handlers may have the same line. */
export const IRQF_SHARED = 0x80;

/** Called in interrupt context: it must not sleep. */
export type IrqHandler<Dev> = (irq: number, dev_id: Dev) => number;

interface Registered {
  readonly irq: number;
  readonly dev_id: unknown;
  readonly shared: boolean;
  readonly action: IrqAction;
}

export function createIrq(k: Linux) {
  const handlers: Registered[] = [];

  return {
    /** Adds a handler for a line: 0, or -EBUSY when the line has one and not both are for sharing. */
    request_irq<Dev>(
      irq: number,
      handler: IrqHandler<Dev>,
      irqflags: number,
      devname: string,
      dev_id: Dev,
    ): number {
      if (typeof handler !== 'function')
        throw new KernelBug('irq', `no handler for line ${irq}`, 'request_irq');
      const shared = (irqflags & IRQF_SHARED) !== 0;
      if (handlers.some((other) => other.irq === irq && !(shared && other.shared))) return -EBUSY;
      const action = k.interrupts.register(irq, devname, () => handler(irq, dev_id) !== IRQ_NONE);
      handlers.push({ irq, dev_id, shared, action });
      return 0;
    },

    /** Takes the handler away that was added with this `dev_id`. @throws KernelBug `irq` when there is none */
    free_irq(irq: number, dev_id: unknown): void {
      const i = handlers.findIndex((handler) => handler.irq === irq && handler.dev_id === dev_id);
      const found = handlers[i];
      if (found === undefined) throw new KernelBug('irq', `line ${irq} has no such handler`, 'free_irq');
      handlers.splice(i, 1);
      k.interrupts.free(found.action);
    },
  };
}

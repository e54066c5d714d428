// Who waits for DMA resources: functions that drivers left behind, called in a soft interrupt when something was given
// back (ddi_dma_alloc_handle(9F), "callback").

import { type Interrupts, KernelBug, type SoftInterrupt } from '../kernel/index.ts';
import { DDI_DMA_CALLBACK_RUNOUT } from './dma-struct.ts';

interface Waiting {
  readonly callback: (arg: unknown) => number;
  readonly arg: unknown;
  count: number;
}

export class CallbackList {
  private readonly interrupts: Interrupts;
  private readonly soft: SoftInterrupt;
  private readonly waiting: Waiting[] = [];

  constructor(interrupts: Interrupts, name: string) {
    this.interrupts = interrupts;
    this.soft = interrupts.softInterrupt(name, () => this.run());
  }

  /** Functions that wait, each as often as it was registered. */
  get length(): number {
    return this.waiting.reduce((sum, { count }) => sum + count, 0);
  }

  /** CB-03: at the end of the list; what is there already with the same argument is called once more. */
  register<A>(callback: (arg: A) => number, arg: A): void {
    if (typeof callback !== 'function') throw new KernelBug('CB-01', 'the call-back is no function');
    this.add(callback as (arg: unknown) => number, arg, 1); // called with this very argument
  }

  /** CB-04: something was given back: the list is run as soon as interrupts are taken. */
  trigger(): void {
    if (this.waiting.length > 0) this.interrupts.trigger(this.soft);
  }

  private add(callback: (arg: unknown) => number, arg: unknown, count: number): void {
    const known = this.waiting.find((other) => other.callback === callback && other.arg === arg);
    if (known === undefined) this.waiting.push({ callback, arg, count });
    else known.count += count;
  }

  /** CB-05: what waits now is called, what is added meanwhile waits for the next run. */
  private run(): true {
    for (let left = this.waiting.length; left > 0; left--) {
      const head = this.waiting.shift();
      if (head === undefined) break;
      const { callback, arg, count } = head;
      for (let rest = count; rest > 0; rest--) {
        if (callback(arg) !== DDI_DMA_CALLBACK_RUNOUT) continue;
        this.add(callback, arg, rest);
        break;
      }
    }
    return true;
  }
}

// Something that happens while the hardware is at work: tests run commands with settle(), which leaves no gap.

import type { Machine } from '../../src/machine/index.ts';

/** Has `act` done once, in the middle of a settle(): after the first event behind which `begun` is true. */
export function meanwhile(machine: Machine, begun: () => boolean, act: () => void): void {
  const settle = machine.settle.bind(machine);
  machine.settle = () => {
    while (!begun() && Number.isFinite(machine.nextDeadline())) machine.advance(machine.nextDeadline());
    if (begun()) {
      machine.settle = settle;
      act();
    }
    settle();
  };
}

// Interrupts that come in at accesses to registers and memory, by seed: what makes a forgotten irqsave show.

import { AHCI_PORTS, AHCI_PX_CLB } from '../../assembly/ahci/regs.ts';
import { createKernelBase } from '../../src/kernel/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('interrupts at accesses');

const COUNTER = 0x40000;
const AHCI_BAR = 5;
/** Two bits of a register that keeps what is written to it. */
const MINE = 0x400;
const ITS = 0x800;
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];

type Place = 'memory' | 'register';

/**
 * A task changes a word in two steps, ten times, while an interrupt that changes it too is pending. Returns how many
 * changes were lost.
 */
async function lost(place: Place, irqSave: boolean, accessChance: number, seed: number): Promise<number> {
  const machine = await createMachine({ ram: 'small', guard: false });
  const { cpu, interrupts, scheduler } = createKernelBase({ machine, accessChance, seed });
  const { memory } = machine;
  const hba = machine.addController({ kind: 'ahci' });
  const at = AHCI_PORTS + AHCI_PX_CLB;
  memory.write32(COUNTER, 0);
  const change = (bit: number): void => {
    if (place === 'memory') memory.write32(COUNTER, memory.read32(COUNTER) + 1);
    else hba.write32(AHCI_BAR, at, hba.read32(AHCI_BAR, at) | bit);
  };
  const soft = interrupts.softInterrupt('changer', () => {
    change(ITS);
    return true;
  });
  let missing = 0;
  scheduler.complete('task', function* () {
    for (let i = 0; i < 10; i++) {
      hba.write32(AHCI_BAR, at, 0);
      interrupts.trigger(soft);
      const enabled = irqSave ? cpu.irqSave() : null;
      change(MINE);
      if (enabled !== null) cpu.irqRestore(enabled);
      yield* scheduler.yieldNow();
      if (place === 'register' && hba.read32(AHCI_BAR, at) !== (MINE | ITS)) missing++;
    }
  });
  return place === 'memory' ? 20 - memory.read32(COUNTER) : missing;
}

for (const place of ['memory', 'register'] as const) {
  test(`a missing irqsave loses changes of ${place} at some seed, and the same ones each time`, async () => {
    const losses: number[] = [];
    for (const seed of SEEDS) losses.push(await lost(place, false, 0.2, seed));
    assert.ok(losses.some((count) => count > 0));
    const again: number[] = [];
    for (const seed of SEEDS) again.push(await lost(place, false, 0.2, seed));
    assert.equal(again, losses);
  });

  test(`with irqsave nothing of ${place} is lost, whatever the seed`, async () => {
    for (const seed of SEEDS) assert.is(await lost(place, true, 0.5, seed), 0);
  });

  test(`without the option interrupts wait for the scheduler, and nothing of ${place} is lost`, async () => {
    for (const seed of SEEDS) assert.is(await lost(place, false, 0, seed), 0);
  });
}

test('who looks at memory while the kernel does not run is not interrupted', async () => {
  const machine = await createMachine({ ram: 'small', guard: false });
  const { interrupts, scheduler } = createKernelBase({ machine, accessChance: 1 });
  let runs = 0;
  const soft = interrupts.softInterrupt('counter', () => ++runs > 0);
  interrupts.trigger(soft);
  machine.memory.read32(COUNTER);
  assert.is(runs, 0);
  scheduler.complete('task', function* () {
    interrupts.trigger(soft);
    const before = runs;
    machine.memory.read32(COUNTER);
    assert.is(runs, before + 1);
  });
});

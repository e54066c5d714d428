// The rules that the hardware itself sees broken: for each the program that makes the mistake, with a real controller,
// and its twin that does it right. A driver of this project stands in for one under development: what it is given is
// wrong, or the board is not what it believes.

import { attachDriver, type Driver } from '../../src/drivers/index.ts';
import type { Access, Finding, Rule } from '../../src/guard/index.ts';
import { type Controller, createMachine, type Disk, type Machine } from '../../src/machine/index.ts';
import { TestCommand, TestHost } from '../drivers/host.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('guard dev');

const DATA = 0x40000;
const GIB4 = 2 ** 32;
/** Where the small layout has no RAM. */
const HOLE = 2 ** 21;
const PCI_COMMAND = 4;
const ABAR = 0x24;

interface Rig {
  readonly machine: Machine;
  readonly controller: Controller;
  readonly driver: Driver;
  readonly disk: Disk;
  /** Allows the device to use memory, as a kernel's DMA mapping does. */
  map(address: number, bytes: number, access: Access): number;
  /** A command for whole sectors; `finish` runs what submit() began to its end. */
  submit(op: 'read' | 'write', address: number, bytes: number): TestCommand;
  finish(...commands: TestCommand[]): void;
}

async function boot(profile: string): Promise<Rig> {
  const machine = await createMachine({ ram: 'small', flavour: 'debug' });
  const controller = machine.addController({ kind: profile });
  const disk = machine.addDisk({ bytes: 64 * 1024 });
  controller.attach(disk, 0);
  const host = new TestHost(machine, controller);
  const driver = attachDriver(host);
  machine.guard.clear();
  return {
    machine,
    controller,
    driver,
    disk,
    map: (address, bytes, access) => machine.guard.map(controller, address, bytes, access, 'map', 'the test'),
    submit(op, address, bytes) {
      const command = new TestCommand({ op, lba: 0, sectors: bytes / 512, direction: op });
      command.setSegments([{ address, bytes }]);
      assert.ok(driver.submit(command));
      driver.kick();
      return command;
    },
    finish(...commands) {
      for (let i = 0; i < 1000 && commands.some(({ ended }) => ended === 0); i++) {
        if (machine.nextDeadline() === Number.POSITIVE_INFINITY) return;
        machine.advance(machine.nextDeadline());
        if ((machine.irqLines & (1 << controller.line)) !== 0) driver.interrupt();
      }
    },
  };
}

function only(rig: Rig, rule: Rule): Finding {
  const found = rig.machine.guard.findings();
  assert.equal(
    found.map((finding) => finding.rule),
    [rule],
  );
  const [finding] = found as [Finding];
  assert.is(finding.device, rig.controller.name);
  return finding;
}

/** The mistake gives one finding with these fields, the twin none. */
function pair(
  rule: Rule,
  what: string,
  mistake: (rig: Rig) => void,
  expected: Partial<Finding> & { readonly where?: string },
  twin: (rig: Rig) => void,
  profiles: readonly string[] = ['ahci', 'aha1542', 'piix-ide'],
): void {
  for (const profile of profiles) {
    test(`${rule} ${what} (${profile})`, async () => {
      const rig = await boot(profile);
      mistake(rig);
      const finding = only(rig, rule);
      const { where, ...fields } = expected;
      const seen = Object.fromEntries(
        Object.keys(fields).map((name) => [name, finding[name as keyof Finding]]),
      );
      assert.equal(seen, fields);
      if (where !== undefined) assert.is(finding.mapping?.where, where);
    });
    test(`${rule} the twin of: ${what} (${profile})`, async () => {
      const rig = await boot(profile);
      twin(rig);
      assert.equal(rig.machine.guard.findings(), []);
    });
  }
}

pair(
  'dev-unmapped',
  'memory that nobody mapped is read into',
  (rig) => rig.finish(rig.submit('read', DATA, 1024)),
  { address: DATA, length: 1024, direction: 'write', mapping: null },
  (rig) => {
    rig.map(DATA, 1024, 'write');
    rig.finish(rig.submit('read', DATA, 1024));
  },
);

pair(
  'dev-after-unmap',
  'memory is unmapped while the command is under way',
  (rig) => {
    const handle = rig.map(DATA, 512, 'write');
    const command = rig.submit('read', DATA, 512);
    rig.machine.guard.unmap(handle);
    rig.finish(command);
  },
  { address: DATA, length: 512, direction: 'write', where: 'the test' },
  (rig) => {
    const handle = rig.map(DATA, 512, 'write');
    rig.finish(rig.submit('read', DATA, 512));
    rig.machine.guard.unmap(handle);
  },
);

pair(
  'dev-overrun',
  'the device gets more than is mapped',
  (rig) => {
    rig.map(DATA, 700, 'write');
    rig.finish(rig.submit('read', DATA, 1024));
  },
  { address: DATA + 700, length: 324, direction: 'write', where: 'the test' },
  (rig) => {
    rig.map(DATA, 1024, 'write');
    rig.finish(rig.submit('read', DATA, 1024));
  },
);

pair(
  'dev-direction',
  'the device writes what is mapped for it to read',
  (rig) => {
    rig.map(DATA, 512, 'read');
    rig.finish(rig.submit('read', DATA, 512));
  },
  { address: DATA, length: 512, direction: 'write', where: 'the test' },
  (rig) => {
    rig.map(DATA, 512, 'both');
    rig.finish(rig.submit('read', DATA, 512));
  },
);

pair(
  'dev-direction',
  'the device reads what is mapped for it to write',
  (rig) => {
    rig.machine.memory.fill(DATA, 1, 512);
    rig.map(DATA, 512, 'write');
    rig.finish(rig.submit('write', DATA, 512));
  },
  { address: DATA, length: 512, direction: 'read', where: 'the test' },
  (rig) => {
    rig.machine.memory.fill(DATA, 1, 512);
    rig.map(DATA, 512, 'read');
    rig.finish(rig.submit('write', DATA, 512));
  },
);

pair(
  'dev-truncated',
  'a board with 26 lines is given an address beyond 64 MiB',
  (rig) => {
    rig.map(GIB4 + DATA, 512, 'write');
    rig.finish(rig.submit('read', GIB4 + DATA, 512));
    assert.ok(rig.machine.memory.equals(DATA, rig.disk.read(0, 512)));
  },
  { address: GIB4 + DATA, driven: DATA, length: 512, direction: 'write' },
  (rig) => {
    rig.map(DATA, 512, 'write');
    rig.finish(rig.submit('read', DATA, 512));
  },
  ['ahci-26lines'],
);

pair(
  'dev-nomaster',
  'a command is issued with bus mastering off',
  (rig) => {
    rig.controller.configWrite(PCI_COMMAND, 2, rig.controller.configRead(PCI_COMMAND, 2) & ~4);
    rig.map(DATA, 512, 'write');
    const command = rig.submit('read', DATA, 512);
    rig.machine.advance(rig.machine.now() + 1000);
    assert.is(command.ended, 0);
  },
  { direction: 'read' },
  (rig) => {
    rig.map(DATA, 512, 'write');
    rig.submit('read', DATA, 512);
    rig.machine.advance(rig.machine.now() + 1000);
  },
  ['ahci'],
);

pair(
  'dev-hole',
  'the device is sent where no RAM is',
  (rig) => {
    rig.map(HOLE, 512, 'write');
    const command = rig.submit('read', HOLE, 512);
    rig.finish(command);
    // A bus master that finds no memory does not interrupt (SFF-8038i, 2.2).
    if (rig.controller.kind === 'piix-ide') rig.driver.abort(command);
    assert.is(command.ended, 1);
  },
  { address: HOLE, length: 512, direction: 'write' },
  (rig) => {
    rig.map(DATA, 512, 'write');
    rig.finish(rig.submit('read', DATA, 512));
  },
);

test('dev-registers the device is sent to its own registers', async () => {
  const rig = await boot('ahci');
  const registers = rig.controller.configRead(ABAR, 4);
  rig.map(registers, 512, 'write');
  rig.finish(rig.submit('read', registers, 512));
  const finding = only(rig, 'dev-registers');
  assert.equal([finding.address, finding.length, finding.direction], [registers, 512, 'write']);
  assert.match(finding.message, 'registers of ahci.0');
});

test('dev-registers a transfer that enters or leaves registers is told apart from the hole beside them', async () => {
  const rig = await boot('ahci');
  const first = rig.controller.configRead(ABAR, 4);
  const bar = rig.controller.bars().find(({ index }) => index === 5);
  const end = first + (bar?.bytes ?? 0);
  rig.finish(rig.submit('read', first - 512, 1024));
  rig.finish(rig.submit('write', end - 512, 1024));
  const found = rig.machine.guard.findings().map(({ rule, address, length }) => [rule, address, length]);
  assert.equal(found, [
    ['dev-hole', first - 512, 512],
    ['dev-registers', first, 512],
    ['dev-registers', end - 512, 512],
    ['dev-hole', end, 512],
  ]);
});

test('dev-registers the twin is sent to RAM, the registers are the CPU’s', async () => {
  const rig = await boot('ahci');
  rig.map(DATA, 512, 'write');
  rig.finish(rig.submit('read', DATA, 512));
  rig.controller.read32(5, 0);
  assert.equal(rig.machine.guard.findings(), []);
});

pair(
  'dev-uninit',
  'bytes that nobody wrote are sent to the medium',
  (rig) => {
    rig.machine.memory.fill(DATA, 1, 100);
    rig.machine.memory.fill(DATA + 103, 1, 409);
    rig.map(DATA, 512, 'read');
    rig.finish(rig.submit('write', DATA, 512));
  },
  { address: DATA + 100, length: 3, direction: 'read' },
  (rig) => {
    rig.machine.memory.fill(DATA, 1, 512);
    rig.map(DATA, 512, 'read');
    rig.finish(rig.submit('write', DATA, 512));
  },
);

pair(
  'dev-uninit',
  'memory that was forgotten is sent to the medium',
  (rig) => {
    rig.machine.memory.fill(DATA, 1, 512);
    rig.machine.memory.forget(DATA + 256, 64);
    rig.map(DATA, 512, 'read');
    rig.finish(rig.submit('write', DATA, 512));
  },
  { address: DATA + 256, length: 64 },
  (rig) => {
    rig.machine.memory.forget(DATA, 512);
    rig.map(DATA, 512, 'both');
    rig.finish(rig.submit('read', DATA, 512)); // what the device wrote is written
    rig.finish(rig.submit('write', DATA, 512));
  },
  ['ahci'],
);

for (const [what, to, from] of [
  ['to the same place in the page', DATA + 0x1000, DATA],
  ['to another place', DATA + 0x1002, DATA + 1],
  ['onto itself, upwards', DATA + 8, DATA],
  ['onto itself, downwards', DATA, DATA + 9],
] as const) {
  pair(
    'dev-uninit',
    `the copy of what nobody wrote, ${what}, is sent to the medium`,
    (rig) => {
      const { memory } = rig.machine;
      memory.fill(from, 1, 512);
      memory.forget(from + 200, 5);
      memory.copy(to, from, 512);
      rig.map(to - 3, 600, 'read');
      rig.finish(rig.submit('write', to, 512));
    },
    { address: to + 200, length: 5 },
    (rig) => {
      const { memory } = rig.machine;
      memory.fill(from, 1, 512);
      memory.copy(to, from, 512);
      rig.map(to - 3, 600, 'read');
      rig.finish(rig.submit('write', to, 512));
    },
    ['ahci'],
  );
}

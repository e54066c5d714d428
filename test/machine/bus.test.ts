// The CPU's view of addresses, PCI Local Bus 3.0: 3.2.2.3.2 configuration mechanism #1, 6.2.5.1 BARs.

import { PORT_STATUS, STATUS_IDLE, STATUS_INIT } from '../../assembly/aha1542/regs.ts';
import { AHCI_DATA, AHCI_INDEX } from '../../assembly/ahci/regs.ts';
import {
  PCI_BAR0,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MASTER,
  PCI_COMMAND_MEMORY,
  PCI_INTERRUPT_LINE,
} from '../../assembly/bus/pci-regs.ts';
import { type Controller, createMachine, type Machine, MachineError } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('machine bus');

const ENABLE = 0x80000000;
const ALL = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
/** AHCI: ABAR is BAR 5; version is at 10h in it. */
const ABAR = PCI_BAR0 + 4 * 5;
const VERSION = 0x10;

interface Pc {
  machine: Machine;
  ahci: Controller;
  config(slot: number, at: number): number;
  setConfig(slot: number, at: number, value: number): void;
}

async function pc(): Promise<Pc> {
  const machine = await createMachine({ ram: 'small', guard: false, flavour: 'debug' });
  const ahci = machine.addController({ kind: 'ahci' });
  const { bus } = machine;
  return {
    machine,
    ahci,
    config(slot, at) {
      bus.writePort(0xcf8, 4, ENABLE | (slot << 11) | at);
      return bus.readPort(0xcfc, 4);
    },
    setConfig(slot, at, value) {
      bus.writePort(0xcf8, 4, ENABLE | (slot << 11) | at);
      bus.writePort(0xcfc, 4, value);
    },
  };
}

test('slots are given out from 4 on, or as asked; nobody has one twice', async () => {
  const { machine, ahci } = await pc();
  const { bus } = machine;
  const fixed = machine.addController({ kind: 'ahci', slot: 5 });
  const next = machine.addController({ kind: 'ahci' });
  assert.equal([bus.slotOf(ahci), bus.slotOf(fixed), bus.slotOf(next)], [4, 5, 6]);
  assert.is(bus.controllerAt(5), fixed);
  assert.is(bus.slotOf(machine.addController({ kind: 'aha1542' })), -1);
  for (const [options, text] of [
    [{ kind: 'ahci', slot: 5 }, /slot 5 is taken by ahci\.1/],
    [{ kind: 'ahci', slot: 32 }, /slot is 32/],
    [{ kind: 'ahci', slot: 1.5 }, /slot is 1\.5/],
    [{ kind: 'aha1542', slot: 6 }, /ISA board/],
  ] as const) {
    const count = machine.controllers.length;
    assert.throws(
      () => machine.addController(options),
      (error: unknown) => error instanceof MachineError && text.test(error.message),
    );
    assert.is(machine.controllers.length, count);
  }
});

test('a controller that is removed decodes nothing, drives no line, and leaves its disks to others', async () => {
  const { machine, ahci, config, setConfig } = await pc();
  const { bus } = machine;
  const disk = machine.addDisk({ bytes: 512 });
  ahci.attach(disk, 0);
  const base = config(4, ABAR);
  assert.is.not(bus.readMemory(base + VERSION, 4), 0xffffffff);
  machine.removeController(ahci);
  assert.equal([config(4, 0), bus.readMemory(base + VERSION, 4)], [0xffffffff, 0xffffffff]);
  assert.equal([bus.slotOf(ahci), ahci.disks.size, machine.irqLines], [-1, 0, 0]);
  const next = machine.addController({ kind: 'ahci', slot: 4 });
  next.attach(disk, 0);
  setConfig(4, ABAR, base);
  assert.is.not(bus.readMemory(base + VERSION, 4), 0xffffffff);
  const board = machine.addController({ kind: 'aha1542' });
  assert.is.not(bus.readPort(0x330 + PORT_STATUS, 1), 0xff);
  machine.removeController(board);
  assert.is(bus.readPort(0x330 + PORT_STATUS, 1), 0xff);
});

test('where nothing is, memory reads as the machine says', async () => {
  const { machine } = await pc();
  assert.is(machine.bus.readMemory(0xd0000001, 4), 0xffffffff);
  machine.bus.emptyByte = 0;
  assert.is(machine.bus.readMemory(0xd0000001, 4), 0);
});

test('configuration mechanism #1 names bus, device, function and register', async () => {
  const { machine, ahci, config } = await pc();
  const { bus } = machine;
  assert.is(config(4, 0), ahci.configRead(0, 4));
  assert.is(config(3, 0), 0xffffffff, 'no device');
  bus.writePort(0xcf8, 4, ENABLE | (4 << 11) | 0x100);
  assert.is(bus.readPort(0xcfc, 4), 0xffffffff, 'function 1');
  bus.writePort(0xcf8, 4, ENABLE | (1 << 16) | (4 << 11));
  assert.is(bus.readPort(0xcfc, 4), 0xffffffff, 'bus 1');
  bus.writePort(0xcf8, 4, 4 << 11);
  assert.is(bus.readPort(0xcfc, 4), 0xffffffff, 'not enabled');
});

test('the configuration address keeps the bits that exist, and only whole writes reach it', async () => {
  const { machine } = await pc();
  const { bus } = machine;
  bus.writePort(0xcf8, 4, 0xffffffff);
  assert.is(bus.readPort(0xcf8, 4), 0x80fffffc);
  bus.writePort(0xcf8, 2, 0);
  bus.writePort(0xcf9, 1, 0);
  assert.is(bus.readPort(0xcf8, 4), 0x80fffffc);
  assert.is(bus.readPort(0xcf8, 1), 0xff);
});

test('parts of the data register are parts of the dword', async () => {
  const { machine, ahci } = await pc();
  const { bus } = machine;
  bus.writePort(0xcf8, 4, ENABLE | (4 << 11));
  assert.is(bus.readPort(0xcfe, 2), ahci.configRead(2, 2));
  assert.is(bus.readPort(0xcfd, 1), ahci.configRead(1, 1));
  bus.writePort(0xcf8, 4, ENABLE | (4 << 11) | PCI_INTERRUPT_LINE);
  bus.writePort(0xcfc, 1, 9);
  assert.is(ahci.configRead(PCI_INTERRUPT_LINE, 1), 9);
  const crossing = bus.readPort(0xcfe, 4);
  assert.is(crossing >>> 16, 0xffff, 'what lies behind the register is nobody');
  assert.is(crossing & 0xffff, ahci.configRead(PCI_INTERRUPT_LINE + 2, 2));
});

test('a memory BAR decodes where it is now, while the command register lets it', async () => {
  const { machine, ahci, config, setConfig } = await pc();
  const { bus } = machine;
  const version = ahci.read32(5, VERSION);
  const first = config(4, ABAR);
  assert.is(bus.readMemory(first + VERSION, 4), version);
  assert.is(bus.readMemory(first + VERSION + 2, 2), version >>> 16);
  setConfig(4, ABAR, 0xe0000000);
  assert.is(bus.readMemory(first + VERSION, 4), 0xffffffff);
  assert.is(bus.readMemory(0xe0000000 + VERSION, 4), version);
  setConfig(4, PCI_COMMAND, ALL & ~PCI_COMMAND_MEMORY);
  assert.is(bus.readMemory(0xe0000000 + VERSION, 4), 0xffffffff);
  setConfig(4, PCI_COMMAND, ALL);
  setConfig(4, ABAR, 0);
  assert.is(bus.readMemory(VERSION, 4), 0, 'a BAR of 0 decodes nothing: here is RAM');
});

test('a store reaches the registers, and one behind them is lost', async () => {
  const { machine, ahci, config } = await pc();
  const { bus } = machine;
  const base = config(4, ABAR);
  const before = ahci.read32(5, 4);
  bus.writeMemory(base + 4, 4, 0x80000002);
  assert.is(ahci.read32(5, 4) & 2, 2, 'GHC.IE');
  bus.writeMemory(base + 4, 4, before);
  const { registerWrites } = ahci.counters;
  bus.writeMemory(0xd0000000, 4, 1);
  assert.is(ahci.counters.registerWrites, registerWrites);
});

test('RAM where RAM is, to the last byte of a region', async () => {
  const { machine } = await pc();
  const { bus, memory } = machine;
  bus.writeMemory(0x1001, 4, 0x44332211);
  bus.writeMemory(0x1005, 2, 0x6655);
  bus.writeMemory(0x1007, 1, 0x77);
  assert.equal([...memory.readBytes(0x1000, 8)], [0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]);
  assert.is(bus.readMemory(0x1001, 4), 0x44332211);
  assert.is(bus.readMemory(0x1005, 2), 0x6655);
  const end = 0x80000;
  bus.writeMemory(end - 2, 4, 0xddccbbaa);
  assert.equal([...memory.readBytes(end - 2, 2)], [0xaa, 0xbb]);
  assert.is(bus.readMemory(end - 2, 4), 0xffffbbaa);
  assert.is(bus.readMemory(end, 1), 0xff);
  bus.writeMemory(2 ** 32 + 8, 4, 0xfffffffe);
  assert.is(bus.readMemory(2 ** 32 + 8, 4), 0xfffffffe);
});

test("an ISA board has its profile's four ports", async () => {
  const { machine } = await pc();
  const { bus } = machine;
  machine.addController({ kind: 'aha1542' });
  const idle = STATUS_INIT | STATUS_IDLE;
  assert.is(bus.readPort(0x330 + PORT_STATUS, 1), idle);
  assert.is(bus.readPort(0x330, 2), idle, 'the data port reads as zero');
  assert.is(bus.readPort(0x32f, 1), 0xff);
  assert.is(bus.readPort(0x334, 1), 0xff);
  assert.is(bus.readPort(0x32f, 2), idle * 0x100 + 0xff);
  for (const byte of [0x1f, 0x5a]) bus.writePort(0x331, 1, byte);
  assert.is(bus.readPort(0x331, 1), 0x5a, 'ECHO');
  assert.is(bus.readPort(0xffff, 4) >>> 0, 0xffffffff);
});

test('an I/O BAR decodes ports while the command register lets it', async () => {
  const { machine, ahci, config, setConfig } = await pc();
  const { bus } = machine;
  const bar = ahci.bars().find(({ kind }) => kind === 'io');
  assert.ok(bar !== undefined);
  if (bar === undefined) return;
  const base = config(4, PCI_BAR0 + 4 * bar.index) & ~3;
  bus.writePort(base + AHCI_INDEX, 4, VERSION);
  assert.is(bus.readPort(base + AHCI_INDEX, 4), VERSION, 'the index register');
  assert.is(bus.readPort(base + AHCI_DATA, 4), ahci.read32(5, VERSION));
  setConfig(4, PCI_COMMAND, ALL & ~PCI_COMMAND_IO);
  assert.is(bus.readPort(base + AHCI_DATA, 4), 0xffffffff);
});

// Controllers in a machine of v86: where their registers are, whose interrupts they raise, what survives what.

import * as aha from '../../assembly/aha1542/regs.ts';
import * as ahci from '../../assembly/ahci/regs.ts';
import {
  VIRTIO_BAR_LEGACY,
  VIRTIO_BAR_MODERN,
  VIRTIO_CAP_AT_NOTIFY,
  VIRTIO_CAP_BAR,
} from '../../assembly/virtio-blk/regs.ts';
import type { EmbeddedController } from '../../src/embed/index.ts';
import { attach, EmbedError } from '../../src/v86/index.ts';
import { assert, suite } from '../run/suite.ts';
import { IdleMachine, MEMORY_BYTES } from './machine.ts';

const test = suite('v86');

const [COMMAND, BAR0, BAR5, CAPABILITIES, LINE] = [0x04, 0x10, 0x24, 0x34, 0x3c];
const [IO_MEMORY_MASTER, MEMORY_MASTER] = [7, 6];
const ABAR = 0xfebf1000;
const GHC = 0x04;
const SLOT = 8;

/** The capabilities that a function lists. */
function capabilities(read: (at: number) => number): number[] {
  const ids: number[] = [];
  for (let at = read(CAPABILITIES); at !== 0; at = read(at + 1)) ids.push(read(at));
  return ids;
}

/** MSI and MSI-X. */
function isMessages(id: number): boolean {
  return id === 0x05 || id === 0x11;
}

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    assert.instance(error, EmbedError);
    return (error as Error).message;
  }
  throw new Error('nothing was refused');
}

test('configuration space: our masks, not raw storage; bytes and words; the guest’s interrupt line is kept', async () => {
  const machine = await IdleMachine.create();
  await machine.attach({ controller: 'ahci' });
  assert.is(machine.configRead(SLOT, 0), 0x29228086);
  machine.configWrite(SLOT, 0, 4, 0);
  assert.is(machine.configRead(SLOT, 0), 0x29228086, 'the ids are read-only');
  machine.configWrite(SLOT, COMMAND, 4, MEMORY_MASTER);
  assert.is(machine.configRead(SLOT, COMMAND) & 0xffff, MEMORY_MASTER, 'which v86 ignores in 32 bits');
  machine.configWrite(SLOT, LINE, 1, 11);
  assert.is(machine.configRead(SLOT, LINE) & 0xffff, 0x010b);
  machine.configWrite(SLOT, BAR5, 4, 0xffffffff);
  assert.is(machine.configRead(SLOT, BAR5), 0xfffff000);
});

test('message-signalled interrupts are left out of the capabilities: v86 has none', async () => {
  for (const controller of ['ahci', 'nvme', 'virtio-blk'] as const) {
    const machine = await IdleMachine.create();
    const { controller: inside } = await machine.attach({ controller });
    const own = capabilities((at) => inside.configRead(at, 1));
    assert.ok(own.some(isMessages), controller);
    const shown = capabilities((at) => (machine.configRead(SLOT, at) >>> (8 * (at & 3))) & 0xff);
    assert.equal(
      shown,
      own.filter((id) => !isMessages(id)),
      controller,
    );
  }
});

test('a memory BAR follows the guest, several share a block, and what was there before comes back', async () => {
  const machine = await IdleMachine.create();
  const { cpu } = machine;
  await machine.attach({ controller: 'ahci' });
  await machine.attach({ controller: 'ahci', slot: 9 });
  const version = 0x10;
  assert.is(cpu.mmap_read32(ABAR + version), -1);
  for (const [slot, at] of [
    [8, ABAR],
    [9, ABAR + 0x1000],
  ] as const) {
    machine.configWrite(slot, BAR5, 4, at);
    assert.is(cpu.mmap_read32(at + version), -1, 'not before the command register lets it');
    machine.configWrite(slot, COMMAND, 2, MEMORY_MASTER);
    assert.is(cpu.mmap_read32(at + version) >>> 0, 0x00010200);
  }
  cpu.mmap_write32(ABAR + GHC, ahci.AHCI_GHC_AE | 0);
  machine.configWrite(8, BAR5, 4, 0xfeb00000);
  assert.is(cpu.mmap_read32(ABAR + version), -1);
  assert.is(cpu.mmap_read32(0xfeb00000 + version) >>> 0, 0x00010200);
  assert.is(cpu.mmap_read32(ABAR + 0x1000 + version) >>> 0, 0x00010200, 'the other one stays');
  machine.configWrite(9, COMMAND, 2, 0);
  assert.is(cpu.mmap_read32(ABAR + 0x1000 + version), -1);
});

test('a BAR over RAM is never asked, and sizing one changes nothing for good', async () => {
  const machine = await IdleMachine.create();
  await machine.attach({ controller: 'nvme' });
  machine.configWrite(SLOT, COMMAND, 2, MEMORY_MASTER);
  const blocks = machine.cpu.memory_map_read32.slice();
  machine.configWrite(SLOT, BAR0, 4, 0xffffffff);
  machine.configWrite(SLOT, BAR0, 4, MEMORY_BYTES / 2);
  assert.equal(machine.cpu.memory_map_read32, blocks);
});

test('an NVMe board of which nothing is said takes commands of 512 KiB; one that is named is that one', async () => {
  const machine = await IdleMachine.create();
  assert.is((await machine.attach({ controller: 'nvme' })).profile.parameters.mdts, 7);
  assert.is((await machine.attach({ controller: 'nvme', profile: 'nvme' })).profile.parameters.mdts, 5);
});

test('a virtio device of which nothing is said is notified at a port; one that is named is that one', async () => {
  const machine = await IdleMachine.create();
  const usual = await machine.attach({ controller: 'virtio-blk' });
  const named = await machine.attach({ controller: 'virtio-blk', profile: 'virtio-blk' });
  const bar = (controller: EmbeddedController): number =>
    controller.configRead(VIRTIO_CAP_AT_NOTIFY + VIRTIO_CAP_BAR, 1);
  assert.equal([bar(usual), bar(named)], [VIRTIO_BAR_LEGACY, VIRTIO_BAR_MODERN]);
});

test('a word written to memory arrives as one: a notification of virtio', async () => {
  const machine = await IdleMachine.create();
  const { controller } = await machine.attach({ controller: 'virtio-blk' });
  const memoryBar = controller.bars().find(({ kind, bytes }) => kind === 'memory' && bytes >= 0x1000);
  assert.ok(memoryBar);
  machine.configWrite(SLOT, BAR0 + 4 * memoryBar.index, 4, 0xfe000000);
  machine.configWrite(SLOT, COMMAND, 2, MEMORY_MASTER);
  const before = controller.counters.registerWrites;
  machine.cpu.mmap_write16(0xfe000000, 0x1234);
  assert.is(controller.counters.registerWrites - before, 1);
});

test('I/O BARs follow the guest, and the ports they leave are as they were', async () => {
  const machine = await IdleMachine.create();
  const { io } = machine.cpu;
  await machine.attach({ controller: 'lsi53c895a' });
  machine.configWrite(SLOT, BAR0, 4, 0xc000);
  machine.configWrite(SLOT, COMMAND, 2, IO_MEMORY_MASTER);
  const stest1 = 0x4d;
  io.port_write8(0xc000 + stest1, 0x08);
  assert.is(io.port_read8(0xc000 + stest1), 0x08);
  machine.configWrite(SLOT, BAR0, 4, 0xd000);
  assert.is(io.port_read8(0xc000 + stest1), 0xff);
  assert.is(io.port_read8(0xd000 + stest1), 0x08);
});

test('the AHA-1542 is at 334h beside the sound card, and its interrupt is IRQ 9', async () => {
  const machine = await IdleMachine.create();
  const { io } = machine.cpu;
  await machine.attach({ controller: 'aha1542' });
  const port = 0x334;
  machine.cpu.run_hardware_timers(0, 1000);
  machine.cpu.run_hardware_timers(0, 1100); // the self-test is over
  assert.is(io.port_read8(port) & aha.STATUS_IDLE, aha.STATUS_IDLE);
  assert.is(machine.requests, 0);
  io.port_write8(port + 1, aha.CMD_INQUIRY);
  for (let i = 0; i < 4; i++) io.port_read8(port + 1);
  assert.is(machine.requests & (1 << 9), 1 << 9);
  io.port_write8(port, aha.CONTROL_IRST);
  assert.is(machine.requests & (1 << 9), 0, 'a request that is gone is none');
});

test('a line that two devices share stays up until both let it go', async () => {
  const machine = await IdleMachine.create();
  const { pci } = machine.cpu.devices;
  await machine.attach({ controller: 'nvme', slot: 8 });
  pci.isa_bridge_space8.fill(11, 0x60, 0x64);
  let level = 0;
  const { device_raise_irq: raise, device_lower_irq: lower } = machine.cpu;
  machine.cpu.device_raise_irq = (irq) => {
    level++;
    raise(irq);
  };
  machine.cpu.device_lower_irq = (irq) => {
    level--;
    lower(irq);
  };
  pci.raise_irq(8 << 3);
  pci.raise_irq(5 << 3);
  assert.is(level, 1);
  pci.lower_irq(8 << 3);
  pci.lower_irq(8 << 3);
  assert.is(level, 1);
  pci.lower_irq(5 << 3);
  assert.is(level, 0);
});

test('a reboot resets the controller, its BARs included', async () => {
  const machine = await IdleMachine.create();
  await machine.attach({ controller: 'ahci' });
  machine.configWrite(SLOT, BAR5, 4, ABAR);
  machine.configWrite(SLOT, COMMAND, 2, MEMORY_MASTER);
  machine.cpu.reboot_internal();
  assert.is(machine.configRead(SLOT, BAR5), 0);
  assert.is(machine.configRead(SLOT, COMMAND) & 0xffff, 0);
  assert.is(machine.cpu.mmap_read32(ABAR + 0x10), -1);
});

test('v86’s saved state has the controller, its registers and its disk', async () => {
  const one = await IdleMachine.create();
  const controller = await one.attach({ controller: 'ahci' });
  one.configWrite(SLOT, BAR5, 4, ABAR);
  one.configWrite(SLOT, COMMAND, 2, MEMORY_MASTER);
  one.cpu.mmap_write32(ABAR + GHC, ahci.AHCI_GHC_AE | ahci.AHCI_GHC_IE | 0);
  controller.disks[0]?.write(512, Uint8Array.of(1, 2, 3));
  const state = await one.emulator.save_state();
  const two = await IdleMachine.create();
  const other = await two.attach({ controller: 'ahci' });
  await two.emulator.restore_state(state);
  assert.is(two.cpu.mmap_read32(ABAR + GHC), ahci.AHCI_GHC_AE | ahci.AHCI_GHC_IE | 0);
  assert.equal([...(other.disks[0]?.read(512, 3) ?? [])], [1, 2, 3]);
  const three = await IdleMachine.create();
  await three.attach({ controller: 'nvme' });
  let message = '';
  await three.emulator.restore_state(state).catch((error: Error) => {
    message = error.message;
  });
  assert.is(message, 'the state was saved without nvme in slot 8; it has ahci in slot 8');
});

test('a restored machine’s time-stamp counter goes on where it was, however often', async () => {
  const machine = await IdleMachine.create();
  const { cpu, emulator } = machine;
  await machine.attach({ controller: 'ahci' });
  const minute = 60e9;
  const hours = (): number => {
    cpu.store_current_tsc();
    const [low = 0, high = 0] = cpu.current_tsc;
    return Math.floor((high * 2 ** 32 + low) / (60 * minute));
  };
  cpu.set_tsc(0, 0x10000); // 78 hours
  const saved = hours();
  assert.ok(saved > 70);
  const state = await emulator.save_state();
  for (let i = 0; i < 3; i++) {
    cpu.set_tsc(0, 0);
    await emulator.restore_state(state);
    assert.is(hours(), saved);
  }
});

test('a state in which one controller does not fit changes none', async () => {
  const make = async (profile: string): Promise<IdleMachine> => {
    const machine = await IdleMachine.create();
    await machine.attach({ controller: 'nvme' });
    await machine.attach({ controller: 'ahci', slot: 9, profile });
    machine.configWrite(SLOT, LINE, 1, profile === 'ahci' ? 10 : 11);
    return machine;
  };
  const state = await (await make('ahci')).emulator.save_state();
  const other = await make('ahci-26lines');
  const message = await other.emulator.restore_state(state).then(
    () => '',
    (error: Error) => error.message,
  );
  assert.match(message, /^ahci in slot 9: .*ahci-26lines/);
  assert.is(other.configRead(SLOT, LINE) & 0xff, 11);
});

test('what cannot be attached is named: slot, profile, medium, kind, v86’s own disk, a machine that runs', async () => {
  const machine = await IdleMachine.create(true);
  assert.is(
    await refusal(machine.attach({ controller: 'ahci', slot: 1 })),
    'slot 1 is taken by 82371SB PIIX3 ISA',
  );
  assert.is(
    await refusal(machine.attach({ controller: 'ahci', slot: 32 })),
    'slot is 32; it must be a whole number from 0 to 31',
  );
  assert.match(await refusal(machine.attach({ controller: 'aha1542', slot: 8 })), 'is an ISA board');
  assert.match(await refusal(machine.attach({ controller: 'nvme', irq: 5 })), 'PCI decides');
  assert.match(
    await refusal(machine.attach({ controller: 'nvme', profile: 'none' })),
    'nvme has no profile "none"',
  );
  assert.match(await refusal(machine.attach({ controller: 'piix-ide' })), "v86's own IDE has a disk");
  assert.match(
    await refusal(machine.attach({ controller: 'floppy' as 'ahci' })),
    'no controller is called "floppy"',
  );
  assert.match(await refusal(machine.attach({ controller: 'ahci', media: undefined as never })), /medi/);
  assert.match(
    await refusal(attach(machine.emulator, undefined as never)),
    /at least \{ controller, media \}/,
  );
  await machine.attach({ controller: 'aha1542' });
  assert.match(await refusal(machine.attach({ controller: 'aha1542' })), 'there is an aha1542 already');
  await machine.attach({ controller: 'nvme', slot: 13 });
  assert.match(
    await refusal(machine.attach({ controller: 'ahci', slot: 13 })),
    'slot 13 is taken by backplane',
  );
  assert.match(await refusal(machine.attach({ controller: 'ahci', slot: 0 })), 'slot 0 is taken by');
  await machine.emulator.run();
  assert.match(await refusal(machine.attach({ controller: 'ahci' })), 'autostart: false');
  await machine.emulator.stop();
});

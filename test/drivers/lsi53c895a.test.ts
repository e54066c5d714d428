import * as regs from '../../assembly/lsi53c895a/regs.ts';
import * as codes from '../../assembly/scsi/regs.ts';
import narrowSource from '../../firmware/lsi53c895a/lsi53c810.ss';
import fullSource from '../../firmware/lsi53c895a/lsi53c895a.ss';
import { findProfile, type Profile } from '../../src/controllers/index.ts';
import type { Driver } from '../../src/drivers/driver.ts';
import { attachLsi53c895a } from '../../src/drivers/lsi53c895a.ts';
import * as fields from '../../src/drivers/lsi53c895a-task.ts';
import { TargetTransfer } from '../../src/drivers/lsi53c895a-transfer.ts';
import { parseSense } from '../../src/drivers/scsi.ts';
import { Random } from '../../src/kernel/random.ts';
import {
  type Controller,
  createMachine,
  type Disk,
  type DiskOptions,
  type Machine,
} from '../../src/machine/index.ts';
import { assemble, disassemble, link } from '../../src/scripts/index.ts';
import { assert, suite } from '../run/suite.ts';
import { fill, makeRunner, type Runner, TestCommand, TestHost } from './host.ts';

const test = suite('driver lsi53c895a');

const MIB = 2 ** 20;
/** Where test data lies: below the driver's memory, which begins at 8 MiB, and above 4 GiB. */
const DATA = 0x100000;
const DATA_BYTES = 4 * MIB;
const HIGH = 2 ** 32 + MIB;
const DRIVER_MEMORY = 8 * MIB;
/** Behind all RAM. */
const HOLE = 0x2000_0000;

interface Rig extends Runner {
  machine: Machine;
  controller: Controller;
  host: TestHost;
  driver: Driver;
  disks: Disk[];
}

interface RigOptions {
  profile?: string | Profile;
  /** One disk a target, from 0 on. */
  disks?: DiskOptions[];
}

async function attach(options: RigOptions = {}): Promise<Rig> {
  const machine = await createMachine({
    flavour: 'debug',
    ram: [
      { base: 0, bytes: 24 * MIB },
      { base: 2 ** 32, bytes: 8 * MIB },
    ],
    diskBytes: 13 * MIB,
    guard: { mappings: true },
  });
  const controller = machine.addController({ kind: 'lsi53c895a', profile: options.profile ?? 'lsi53c895a' });
  const disks = (options.disks ?? [{}]).map((disk, place) => {
    const made = machine.addDisk({ bytes: 512 * 1024, ...disk });
    controller.attach(made, place < regs.LSI_HOST_ID ? place : place + 1);
    return made;
  });
  const host = new TestHost(machine, controller, DRIVER_MEMORY);
  const driver = attachLsi53c895a(host);
  machine.guard.map(controller, DATA, DATA_BYTES, 'both');
  machine.guard.map(controller, HIGH, DATA_BYTES, 'both');
  return { machine, controller, host, driver, disks, ...makeRunner(machine, controller, driver, false) };
}

/** A profile of the list with other parameters. */
function variant(name: string, parameters: Profile['parameters']): Profile {
  const profile = findProfile(name)?.profile as Profile;
  return { ...profile, name: 'test', parameters: { ...profile.parameters, ...parameters } };
}

/** Every way through the two programs: with and without RAM, jumps, a wide bus, disks that disconnect. */
const BOARDS: readonly (readonly [string, string | Profile])[] = [
  ['lsi53c895a', 'lsi53c895a'],
  ['lsi53c895a-noram', 'lsi53c895a-noram'],
  ['lsi53c895a-burst', 'lsi53c895a-burst'],
  ['lsi53c810', 'lsi53c810'],
  ['810 with impatient disks', variant('lsi53c810', { burst: 514 })],
  ['810A: LOAD and STORE, no jumps', variant('lsi53c810', { burst: 514, loadStore: true })],
  ['895A without RAM, impatient disks', variant('lsi53c895a-burst', { ram: false, burst: 514 })],
  ['895A on a narrow bus', variant('lsi53c895a-burst', { wide: false, burst: 514 })],
];

function transfer(op: 'read' | 'write', lba: number, sectors: number, address = DATA): TestCommand {
  const bytes = sectors * 512;
  return new TestCommand({ op, lba, sectors, direction: op }).setSegments([{ address, bytes }]);
}

function scsi(cdb: readonly number[], direction: 'read' | 'write' | 'none', bytes = 0): TestCommand {
  const command = new TestCommand({ op: 'scsi', cdbLength: cdb.length, direction });
  command.cdb.set(cdb);
  return bytes === 0 ? command : command.setSegments([{ address: DATA, bytes }]);
}

/** Segments of any length at any address, on both sides of 4 GiB where the driver goes there. */
function scatter(random: Random, bytes: number, driver: Driver): { address: number; bytes: number }[] {
  const segments = [];
  let left = bytes;
  for (let i = 0; left > 0; i++) {
    const high = driver.limits.addressBits > 32 && random.below(2) === 0;
    const most = i === 199 ? left : 1 + random.below(random.below(8) === 0 ? 12000 : 300);
    const n = Math.min(left, most);
    segments.push({ address: (high ? HIGH : DATA) + i * 0x4000 + random.below(256), bytes: n });
    left -= n;
  }
  return segments;
}

for (const [name, profile] of BOARDS) {
  test(`${name}: scattered writes and reads of every size are the disk's bytes`, async () => {
    const { driver, machine, disks, run } = await attach({ profile });
    const disk = disks[0] as Disk;
    const random = new Random(7);
    for (let round = 0; round < 60; round++) {
      const sectors = 1 + random.below(40);
      const lba = random.below(900);
      const bytes = fill(random, sectors * 512);
      const segments = scatter(random, bytes.length, driver);
      let at = 0;
      for (const segment of segments) {
        machine.memory.writeBytes(segment.address, bytes, at, segment.bytes);
        at += segment.bytes;
      }
      const write = new TestCommand({ op: 'write', direction: 'write', lba, sectors }).setSegments(segments);
      run(write);
      assert.equal([write.status, write.residual], ['ok', 0]);
      assert.equal(disk.read(lba * 512, bytes.length), bytes, `round ${round}`);
      for (const segment of segments) machine.memory.fill(segment.address, 0, segment.bytes);
      const read = new TestCommand({ op: 'read', direction: 'read', lba, sectors }).setSegments(segments);
      run(read);
      assert.equal([read.status, read.residual], ['ok', 0]);
      at = 0;
      for (const segment of segments) {
        assert.ok(machine.memory.equals(segment.address, bytes, at, segment.bytes), `round ${round}`);
        at += segment.bytes;
      }
    }
    assert.equal(machine.guard.findings(), []);
  });

  test(`${name}: commands of several disks overlap, and come back by tag and by target`, async () => {
    const { driver, machine, disks, run } = await attach({
      profile,
      disks: [{ latencyNs: 50_000 }, { latencyNs: 1000 }, {}],
    });
    for (const [i, disk] of disks.entries()) disk.write(0, fill(new Random(i), 128 * 512));
    for (let round = 0; round < 5; round++) {
      const commands = Array.from({ length: 60 }, (_, i) => {
        const command = transfer('read', (7 * i) % 120, 8, DATA + 4096 * i);
        command.disk = i % 3;
        return command;
      });
      run(...commands);
      for (const command of commands) {
        assert.equal([command.status, command.residual], ['ok', 0]);
        const bytes = disks[command.disk]?.read(command.lba * 512, 4096) as Uint8Array;
        assert.ok(machine.memory.equals(command.segments.addresses[0] as number, bytes));
      }
    }
    assert.equal(machine.guard.findings(), []);
    assert.is(driver.disks.length, 3);
  });

  test(`${name}: errors become sense data or a status, and the next command is good`, async () => {
    const { machine, disks, run } = await attach({ profile, disks: [{}, { readOnly: true }] });
    machine.addFault({ disk: disks[0] as Disk, kind: 'error', first: 19, last: 19 });
    const read = transfer('read', 16, 8);
    const locked = transfer('write', 0, 8);
    locked.disk = 1;
    const beyond = transfer('read', 1020, 8);
    const nowhere = transfer('read', 0, 8, HOLE);
    const after = transfer('read', 0, 8, DATA + 8192);
    run(read);
    run(locked, beyond);
    run(nowhere, after);
    const sense = [read, locked, beyond].map((command) => [
      command.status,
      parseSense(command.sense).key,
      parseSense(command.sense).code,
    ]);
    assert.equal(sense, [
      ['check-condition', codes.KEY_MEDIUM_ERROR, codes.ASC_READ_ERROR],
      ['check-condition', codes.KEY_DATA_PROTECT, codes.ASC_WRITE_PROTECTED],
      ['check-condition', codes.KEY_ILLEGAL_REQUEST, codes.ASC_LBA_RANGE],
    ]);
    assert.equal([nowhere.status, after.status], ['transport-error', 'ok']);
  });

  test(`${name}: what was not moved is the residual, what does not fit is an error`, async () => {
    const { run } = await attach({ profile });
    const inquiry = scsi([0x12, 0, 0, 0, 36, 0], 'read', 200);
    run(inquiry);
    assert.equal([inquiry.status, inquiry.residual], ['ok', 164]);
    const odd = scsi([0x12, 0, 0, 0, 5, 0], 'read', 64);
    run(odd);
    assert.equal([odd.status, odd.residual], ['ok', 59]);
    const large = scsi([0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0], 'read', 512);
    run(large);
    assert.is(large.status, 'transport-error');
    const wrong = scsi([0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0], 'write', 4096);
    run(wrong);
    assert.is(wrong.status, 'transport-error');
    const after = transfer('read', 0, 8);
    run(after);
    assert.equal([after.status, after.residual], ['ok', 0]);
  });

  test(`${name}: an abort ends its command alone, and a reset ends all`, async () => {
    const { driver, machine, run, pump } = await attach({ profile, disks: [{ latencyNs: 1e6 }] });
    const commands = Array.from({ length: 4 }, (_, i) => transfer('read', i, 1, DATA + 512 * i));
    for (const command of commands) driver.submit(command);
    driver.kick();
    driver.abort(commands[1] as TestCommand);
    for (let i = 0; i < 10000 && commands.some((command) => command.ended === 0); i++) pump();
    assert.equal(
      commands.map((command) => [command.ended, command.status]),
      [
        [1, 'ok'],
        [1, 'aborted'],
        [1, 'ok'],
        [1, 'ok'],
      ],
    );
    const more = Array.from({ length: 4 }, (_, i) => transfer('write', i, 1, DATA + 512 * i));
    for (const command of more) driver.submit(command);
    driver.kick();
    driver.reset();
    assert.equal(
      more.map((command) => [command.ended, command.status]),
      more.map(() => [1, 'aborted']),
    );
    const after = transfer('read', 0, 8);
    run(after);
    assert.is(after.status, 'ok');
    assert.equal(machine.guard.findings(), []);
  });

  test(`${name}: detach gives all memory back and leaves the line low`, async () => {
    const { machine, driver, host } = await attach({ profile });
    driver.detach();
    assert.is(host.allocated, 0);
    assert.is(machine.irqLines, 0);
  });
}

test('limits follow the chip: address lines', async () => {
  const limits = async (profile: string) => (await attach({ profile })).driver.limits;
  const plain = await limits('lsi53c895a');
  assert.equal(
    [plain.addressBits, plain.maxSegments, plain.queueDepth, plain.alignmentMask],
    [40, 224, 62, 0],
  );
  assert.is((await limits('lsi53c810')).addressBits, 32);
});

test('fifteen targets are found on a wide bus, seven on a narrow one', async () => {
  const disks = Array.from({ length: 15 }, () => ({ bytes: 64 * 1024 }));
  const wide = await attach({ disks });
  assert.is(wide.driver.disks.length, 15);
  const last = transfer('read', 3, 1);
  last.disk = 14;
  wide.disks[14]?.write(3 * 512, fill(new Random(1), 512));
  wide.run(last);
  assert.ok(wide.machine.memory.equals(DATA, fill(new Random(1), 512)));
  const narrow = await attach({ profile: 'lsi53c810', disks: disks.slice(0, 7) });
  assert.is(narrow.driver.disks.length, 7);
});

test('width and speed are agreed with every target, and again after a reset', async () => {
  const { driver, controller, run } = await attach();
  const agreed = (): number[] => {
    run(transfer('read', 0, 1));
    return [regs.LSI_SCNTL3, regs.LSI_SXFER].map((at) => controller.read8(regs.LSI_BAR_MEMORY, at));
  };
  // Ultra, clock by 1, sixteen bits, asynchronous clock by 8; 4 clocks a period, 31 words ahead.
  assert.equal(agreed(), [0x9f, 0x1f]);
  driver.reset();
  assert.equal(agreed(), [0x9f, 0x1f]);
});

test('every slot is with the chip at once, one doorbell', async () => {
  const { driver, machine, controller, disks, pump } = await attach({ disks: [{ latencyNs: 20_000 }] });
  const bytes = fill(new Random(3), 62 * 512);
  disks[0]?.write(0, bytes);
  const commands = Array.from({ length: 62 }, (_, i) => transfer('read', i, 1, DATA + 512 * i));
  for (const command of commands) assert.ok(driver.submit(command));
  assert.not.ok(driver.submit(transfer('read', 0, 1)));
  const before = controller.counters.registerWrites;
  driver.kick();
  assert.is(controller.counters.registerWrites - before, 1);
  for (let i = 0; i < 10000 && commands.some((command) => command.ended === 0); i++) pump();
  assert.ok(commands.every((command) => command.status === 'ok' && command.ended === 1));
  assert.ok(machine.memory.equals(DATA, bytes));
});

test('failing commands beside each other each get their own sense data', async () => {
  const { machine, disks, run } = await attach({ disks: [{ latencyNs: 10_000 }] });
  machine.addFault({ disk: disks[0] as Disk, kind: 'error', first: 19, last: 19 });
  const commands = [
    transfer('read', 16, 8),
    transfer('read', 1020, 8),
    transfer('write', 16, 8),
    transfer('read', 0, 8, DATA + 4096),
  ];
  run(...commands);
  assert.equal(
    commands.map((command) => (command.senseLength > 0 ? parseSense(command.sense).code : command.status)),
    [codes.ASC_READ_ERROR, codes.ASC_LBA_RANGE, codes.ASC_WRITE_ERROR, 'ok'],
  );
});

test('a target that leaves in the middle of a word that two moves share loses none of its bytes', async () => {
  const profile = variant('lsi53c895a-burst', { burst: 64 });
  const { driver, machine, disks, run } = await attach({ profile });
  const bytes = fill(new Random(9), 1024);
  // The word that the disk leaves behind begins with the last byte of one segment, and ends with the next one's first.
  for (let first = 61; first <= 67; first++) {
    for (let second = 1; second <= 4; second++) {
      const lengths = [first, second, 1024 - first - second];
      const segments = lengths.map((n, i) => ({ address: DATA + 0x2001 * i, bytes: n }));
      for (const op of ['write', 'read'] as const) {
        let at = 0;
        for (const segment of segments) {
          if (op === 'write') machine.memory.writeBytes(segment.address, bytes, at, segment.bytes);
          else machine.memory.fill(segment.address, 0, segment.bytes);
          at += segment.bytes;
        }
        const command = new TestCommand({ op, direction: op, lba: 8, sectors: 2 }).setSegments(segments);
        run(command);
        assert.equal([command.status, command.residual], ['ok', 0]);
      }
      assert.equal(disks[0]?.read(8 * 512, 1024), bytes);
      let at = 0;
      for (const segment of segments) {
        assert.ok(machine.memory.equals(segment.address, bytes, at, segment.bytes), lengths.join(' '));
        at += segment.bytes;
      }
    }
  }
  assert.equal(machine.guard.findings(), []);
  assert.is(driver.limits.alignmentMask, 0);
});

test('a write of an odd number of bytes reaches a wide disk whole', async () => {
  const { run } = await attach({ profile: variant('lsi53c895a-burst', { burst: 64 }) });
  // MODE SELECT of the caching page, a byte longer than the list is: the target takes what it was promised.
  const sense = scsi([0x1a, 8, 8, 0, 25, 0], 'read', 25);
  run(sense);
  assert.equal([sense.status, sense.residual % 2], ['ok', 1]);
  const odd = scsi([0x15, 0x10, 0, 0, 25, 0], 'write', 25);
  run(odd);
  assert.is.not(odd.status, 'transport-error');
});

test('agreements keep to what both sides can do', () => {
  const limits = { wide: true, syncFactor: 10, syncOffset: 31, clockNs: 6.25, plainTiming: 7 };
  const target = new TargetTransfer(3, limits);
  assert.equal(target.request('width'), [1, 2, 3, 1]);
  assert.is(target.hear(Uint8Array.of(1, 2, 3, 1), 'width').label, 'accept');
  assert.equal(target.request('speed'), [1, 3, 1, 10, 31]);
  // 25 ns: four clocks of 6.25; 100 ns: eight of twice that.
  assert.is(target.hear(Uint8Array.of(1, 3, 1, 10, 31), 'speed').label, 'accept');
  assert.equal([target.timing, target.transfer, target.next], [0x9f, 0x1f, null]);
  assert.is(target.hear(Uint8Array.of(1, 3, 1, 25, 8), 'speed').label, 'accept');
  assert.equal([target.timing, target.transfer], [0x3f, (4 << 5) | 8]);
  // More than was asked for, and what cannot be done at all.
  assert.is(target.hear(Uint8Array.of(1, 3, 1, 9, 31), 'speed').label, 'refuse');
  assert.is(target.hear(Uint8Array.of(1, 3, 1, 200, 31), 'speed').label, 'refuse');
  assert.equal([target.timing, target.transfer], [0x0f, 0]);
  // The target's own wishes get an answer.
  assert.equal(target.hear(Uint8Array.of(1, 3, 1, 5, 60), null), {
    label: 'answer',
    reply: [1, 3, 1, 10, 31],
  });
  assert.equal(target.hear(Uint8Array.of(1, 2, 3, 2), null), { label: 'answer', reply: [1, 2, 3, 0] });
  assert.is(target.hear(Uint8Array.of(1, 6, 4, 9, 0, 31, 1, 2), null).label, 'refuse');
  assert.is(target.wide, false);
  target.forget();
  target.refused('width');
  assert.is(target.next, 'speed');
  target.refused('speed');
  assert.equal([target.next, target.transfer, target.wide], [null, 0, false]);
});

test('a chip that reaches no memory is refused, and its memory given back', async () => {
  const machine = await createMachine({ flavour: 'debug', ram: [{ base: 0, bytes: 24 * MIB }] });
  const profile = { ...variant('lsi53c895a', { ram: false }), addressBits: 20 };
  const host = new TestHost(machine, machine.addController({ kind: 'lsi53c895a', profile }), DRIVER_MEMORY);
  assert.throws(() => attachLsi53c895a(host), /the chip does not run what lies at 0x800000/);
  assert.is(host.allocated, 0);
});

test('flush, discard and force unit access go through', async () => {
  const { disks, run } = await attach();
  const disk = disks[0] as Disk;
  disk.write(0, new Uint8Array(512 * 1024).fill(0xaa));
  const fua = transfer('write', 0, 1);
  fua.fua = true;
  run(new TestCommand({ op: 'flush' }), new TestCommand({ op: 'discard', lba: 100, sectors: 500 }), fua);
  assert.is(disk.counters.flushes, 2);
  const bytes = disk.read(99 * 512, 502 * 512);
  assert.equal([bytes[0], bytes[512], bytes[501 * 512 - 1], bytes[501 * 512]], [0xaa, 0, 0, 0xaa]);
});

test('a target that is gone is no device; one that goes in the middle fails its command', async () => {
  const { driver, controller, run, pump } = await attach({ disks: [{}, {}] });
  controller.detachDisk(1);
  const gone = transfer('read', 0, 1);
  gone.disk = 1;
  const there = transfer('read', 0, 1);
  run(gone, there);
  assert.equal([gone.status, there.status], ['no-device', 'ok']);
  const open = transfer('read', 0, 8);
  driver.submit(open);
  driver.kick();
  pump();
  controller.detachDisk(0);
  for (let i = 0; i < 1000 && open.ended === 0; i++) pump();
  assert.ok(open.status === 'device-error' || open.status === 'no-device');
});

test('a reset of the bus by somebody else ends every command, and the next is good', async () => {
  const { driver, controller, run } = await attach({ disks: [{ latencyNs: 1e6 }] });
  const open = transfer('read', 0, 8);
  driver.submit(open);
  driver.kick();
  controller.write8(regs.LSI_BAR_MEMORY, regs.LSI_SCNTL1, regs.LSI_SCNTL1_RST);
  controller.write8(regs.LSI_BAR_MEMORY, regs.LSI_SCNTL1, 0);
  driver.interrupt();
  assert.equal([open.ended, open.status], [1, 'aborted']);
  const attention = transfer('read', 0, 8);
  run(attention);
  assert.is(parseSense(attention.sense).key, codes.KEY_UNIT_ATTENTION);
  const after = transfer('read', 0, 8);
  run(after);
  assert.is(after.status, 'ok');
});

test('a board that drives 24 lines corrupts memory, and is reported', async () => {
  const { machine, run } = await attach({ profile: 'lsi53c895a-24lines' });
  run(transfer('read', 0, 8, HIGH));
  assert.ok(machine.guard.findings().some((finding) => finding.rule === 'dev-truncated'));
});

for (const [file, source] of [
  ['lsi53c895a.ss', fullSource],
  ['lsi53c810.ss', narrowSource],
] as const) {
  test(`${file} agrees with the driver about a task, fits the chip, and survives disassembly`, () => {
    const program = assemble(source, { file });
    const ours: Record<string, number> = {
      t_select: fields.T_SELECT,
      t_message: fields.T_MESSAGE,
      t_command: fields.T_COMMAND,
      t_status: fields.T_STATUS,
      t_reply: fields.T_REPLY,
      t_rest: fields.T_REST,
      t_after: fields.T_AFTER,
      t_saved: fields.T_SAVED,
      t_residue: fields.T_RESIDUE,
      t_own: fields.T_OWN,
      t_list: fields.T_LIST,
      segments: fields.SEGMENTS,
      int_phase: fields.INT_PHASE,
      int_negotiation: fields.INT_NEGOTIATION,
      int_rejected: fields.INT_REJECTED,
      int_check: fields.INT_CHECK,
      int_hello: fields.INT_HELLO,
    };
    const theirs = Object.keys(ours).map((name) => [name, program.absolutes[name]?.value]);
    assert.equal(Object.fromEntries(theirs), ours);
    assert.ok(4 * program.words.length <= regs.LSI_RAM_BYTES);
    const values = Object.fromEntries(Object.keys(program.unresolved).map((name) => [name, 0xfe001000]));
    for (const words of [program.words, link(program, { base: 0x10000, values })]) {
      const text = disassemble(words, { labels: program.labels });
      assert.equal(assemble(text).words, words);
      assert.is(disassemble(assemble(text).words, { labels: program.labels }), text);
    }
  });
}

// How the guard tells mistakes apart, folds what is the same, and what it does when its tables are full.

import { attachAhci } from '../../src/drivers/index.ts';
import type { Finding, GuardOptions } from '../../src/guard/index.ts';
import type { Page } from '../../src/kernel/index.ts';
import { bootLinux, GFP_KERNEL } from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { TestCommand, TestHost } from '../drivers/host.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('guard');

const DATA = 0x40000;

async function boot(guard: GuardOptions | boolean = true) {
  const machine = await createMachine({ ram: 'small', flavour: 'debug', guard });
  const controller = machine.addController({ kind: 'ahci' });
  const disk = machine.addDisk({ bytes: 64 * 1024 });
  controller.attach(disk, 0);
  const driver = attachAhci(new TestHost(machine, controller));
  const read = (...segments: { address: number; bytes: number }[]): void => {
    const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
    const command = new TestCommand({ op: 'read', sectors: bytes / 512, direction: 'read' }).setSegments(
      segments,
    );
    assert.ok(driver.submit(command));
    driver.kick();
    while (command.ended === 0) {
      machine.advance(machine.nextDeadline());
      driver.interrupt();
    }
  };
  const map = (address: number, bytes: number) => machine.guard.map(controller, address, bytes, 'write');
  return { machine, controller, guard: machine.guard, read, map };
}

function summary(found: readonly Finding[]): [string, number | null, number, number][] {
  return found.map(({ rule, address, length, count }) => [rule, address, length, count]);
}

test('mappings that touch, or overlap, cover what lies across them', async () => {
  const { guard, read, map } = await boot();
  map(DATA, 100);
  map(DATA + 300, 724);
  map(DATA + 100, 250);
  read({ address: DATA, bytes: 1024 });
  assert.equal(summary(guard.findings()), []);
});

test('what lies between two mappings is told apart to the byte, and so is what lies behind', async () => {
  const { guard, read, map } = await boot();
  map(DATA, 512);
  map(DATA + 1024, 512);
  read({ address: DATA, bytes: 2048 });
  assert.equal(summary(guard.findings()), [
    ['dev-overrun', DATA + 512, 512, 1],
    ['dev-overrun', DATA + 1536, 512, 1],
  ]);
});

test('each byte is judged by its own rule: direction, unmapped before, overrun', async () => {
  const { guard, read, map, controller } = await boot();
  map(DATA, 256);
  guard.map(controller, DATA + 256, 256, 'read');
  guard.unmap(map(DATA + 512, 256));
  read({ address: DATA, bytes: 1024 });
  assert.equal(summary(guard.findings()), [
    ['dev-direction', DATA + 256, 256, 1],
    ['dev-after-unmap', DATA + 512, 256, 1],
    ['dev-overrun', DATA + 768, 256, 1],
  ]);
});

test('a live mapping allows what a dead one at the same place would not', async () => {
  const { guard, read, map } = await boot();
  guard.unmap(map(DATA, 512));
  map(DATA, 512);
  guard.unmap(map(DATA, 512));
  read({ address: DATA, bytes: 512 });
  assert.equal(summary(guard.findings()), []);
});

test('pages of one access are one finding, a second command at the same place counts', async () => {
  const { guard, read } = await boot();
  for (let i = 0; i < 3; i++) read({ address: DATA, bytes: 12288 });
  assert.equal(summary(guard.findings()), [['dev-unmapped', DATA, 12288, 3]]);
});

test('findings that were collected before are counted on', async () => {
  const { guard, read } = await boot();
  for (let i = 0; i < 3; i++) {
    read({ address: DATA, bytes: 512 });
    guard.findings();
  }
  assert.equal(summary(guard.findings()), [['dev-unmapped', DATA, 512, 3]]);
  guard.clear();
  read({ address: DATA, bytes: 512 });
  assert.equal(summary(guard.findings()), [['dev-unmapped', DATA, 512, 1]]);
});

test('other places, and other directions, are findings of their own', async () => {
  const { guard, read } = await boot();
  read({ address: DATA, bytes: 512 }, { address: DATA + 0x2000, bytes: 512 });
  assert.equal(summary(guard.findings()), [
    ['dev-unmapped', DATA, 512, 1],
    ['dev-unmapped', DATA + 0x2000, 512, 1],
  ]);
});

test('an address that is cut in the middle of a run is folded only as far as what was driven is contiguous', async () => {
  const machine = await createMachine({ ram: 'small', flavour: 'debug' });
  const controller = machine.addController({ kind: 'ahci', profile: 'ahci-26lines' });
  const disk = machine.addDisk({ bytes: 64 * 1024 });
  controller.attach(disk, 0);
  const driver = attachAhci(new TestHost(machine, controller));
  machine.guard.clear();
  const lines = 2 ** 26;
  const command = new TestCommand({ op: 'read', sectors: 2, direction: 'read' });
  command.setSegments([{ address: 2 * lines - 512, bytes: 1024 }]);
  driver.submit(command);
  driver.kick();
  machine.settle();
  assert.equal(
    machine.guard.findings().map(({ rule, address, driven, length }) => [rule, address, driven, length]),
    [
      ['dev-truncated', 2 * lines - 512, lines - 512, 512],
      ['dev-truncated', 2 * lines, 0, 512],
    ],
  );
});

test('tables that are full say so, and are free again after an unmap', async () => {
  const { guard, map } = await boot({ capacity: 64 });
  const handles: number[] = [];
  assert.throws(() => {
    for (;;) handles.push(map(DATA, 64));
  }, /raise guard.capacity/);
  assert.ok(handles.length >= 32); // the driver has some, too
  guard.unmap(handles[0] as number);
  map(DATA, 64);
  assert.throws(() => map(DATA, 64), /raise guard.capacity/);
});

test('mappings that ended do not fill the tables, however many there were', async () => {
  const { guard, read, map } = await boot({ capacity: 64 });
  for (let i = 0; i < 5000; i++) guard.unmap(map(DATA + (i % 200) * 64, 64));
  map(DATA, 512);
  read({ address: DATA, bytes: 512 });
  assert.equal(summary(guard.findings()), []);
});

test('commands that read on where the last one ended are findings of their own', async () => {
  const { guard, read } = await boot();
  for (let i = 0; i < 3; i++) read({ address: DATA + 512 * i, bytes: 512 });
  assert.is(guard.findings().length, 3);
});

test('findings that the module has no room for are counted', async () => {
  const { guard, read } = await boot();
  for (let i = 0; i < 300; i++) read({ address: DATA + 512 * i, bytes: 512 });
  assert.is(guard.findings().length, 256);
  assert.is(guard.lost, 44);
});

test('only addresses are watched where mappings are not', async () => {
  const { guard, read } = await boot({ mappings: false });
  read({ address: DATA, bytes: 512 });
  assert.equal(guard.findings(), []);
});

test('dev-uninit a page that was freed and is allocated again counts as never written', async () => {
  const { machine, guard, controller } = await boot();
  const linux = bootLinux(machine);
  const { allocator } = linux.kernel;
  const host = linux.scsi_add_host(controller);
  const [disk] = host.disks;
  assert.ok(disk !== undefined);
  const write = (page: Page): number =>
    linux.kernel.scheduler.complete('writer', function* () {
      const bio = yield* linux.bio_alloc(0, 1);
      assert.ok(bio !== null);
      linux.bio_add_page(bio, page, 512, 0);
      bio.bi_bdev = disk.part0;
      bio.bi_op = 1;
      return yield* linux.submit_bio_wait(bio);
    });
  const take = (zero: boolean) => allocator.alloc({ zero, below: 2 ** 24 }) as Page;
  const first = take(true);
  assert.is(write(first), 0);
  assert.equal(guard.findings(), []);
  allocator.put(first);
  const again = take(false);
  assert.is(again.phys, first.phys);
  write(again);
  assert.equal(summary(guard.findings()), [['dev-uninit', first.phys, 512, 1]]);
});

test('dev-uninit so does a piece of kmalloc memory', async () => {
  const { machine, guard, controller } = await boot();
  const linux = bootLinux(machine);
  const [disk] = linux.scsi_add_host(controller).disks;
  assert.ok(disk !== undefined);
  const address = linux.kernel.scheduler.complete('writer', function* () {
    const first = yield* linux.kzalloc(512, GFP_KERNEL);
    linux.kfree(first);
    const again = yield* linux.kmalloc(512, GFP_KERNEL);
    assert.ok(again !== null && again === first);
    const bio = yield* linux.bio_alloc(GFP_KERNEL, 1);
    const page = linux.virt_to_page(again);
    assert.ok(bio !== null && page !== null);
    linux.bio_add_page(bio, page, 512, again - page.phys);
    bio.bi_bdev = disk.part0;
    bio.bi_op = 1;
    yield* linux.submit_bio_wait(bio);
    return again;
  });
  assert.equal(summary(guard.findings()), [['dev-uninit', address, 512, 1]]);
});

test('findings that nobody has collected yet are in a snapshot, wherever in the table they stand', async () => {
  const { machine, guard, read } = await boot();
  guard.clear();
  machine.save(); // from here on what changes has to say so
  for (let i = 0; i < 150; i++) read({ address: DATA + 1024 * i, bytes: 512 });
  const snapshot = machine.save();
  const found = summary(guard.findings());
  assert.is(found.length, 150);
  guard.clear();
  for (let i = 0; i < 150; i++) read({ address: DATA + 512 + 1024 * i, bytes: 512 });
  machine.restore(snapshot);
  assert.equal(summary(guard.findings()), found);
});

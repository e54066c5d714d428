// Asynchronous media that answer late, in any order, or to requests that were given up meanwhile.

import { MEDIA_ERROR, MEDIA_OK, MEDIA_READ } from '../../assembly/media/codes.ts';
import { RunList } from '../../src/machine/external.ts';
import { HostMedia } from '../../src/machine/host-media.ts';
import { MachineError } from '../../src/machine/index.ts';
import type { HardwareExports, MediaImports } from '../../src/machine/module.ts';
import { MediumError, ramMedium, type SyncMedium } from '../../src/media/index.ts';
import { assert, suite } from '../run/suite.ts';
import { altered, contentOf, Held, pattern, turn } from './help.ts';
import { KINDS, Rig } from './rig.ts';

const test = suite('media: late');
const BYTES = 128 * 1024;

function filled(bytes = BYTES): SyncMedium {
  const ram = ramMedium(bytes);
  ram.writev(0, [pattern(bytes, 1)]);
  return ram;
}

/** Runs the hardware until it waits for the host; every command that ends on the way has done so. */
async function runToWait(rig: Rig): Promise<void> {
  while (rig.step()) {
    if (rig.machine.nextDeadline() === Number.POSITIVE_INFINITY)
      throw new Error('nothing waits for the host');
  }
  await turn();
}

/** Lets held media answer until `ready`, in turn with the hardware. */
async function runHeld(rig: Rig, held: Held, ready: () => boolean): Promise<void> {
  for (let left = 1000; !ready(); left--) {
    if (left === 0) throw new Error('it does not come to an end');
    if (rig.step()) continue;
    await turn();
    held.release();
  }
}

for (const kind of KINDS) {
  test(`${kind}: time stands still while the host fetches, settle() refuses, settleAsync() goes on`, async () => {
    const held = new Held(filled());
    const rig = await Rig.create(kind, { medium: held.medium });
    const { machine } = rig;
    const [command] = rig.submit([{ op: 'read', lba: 3, sectors: 2 }]);
    await runToWait(rig);
    const time = machine.now();
    assert.is(machine.pendingMedia, 1);
    for (let i = 0; i < 5; i++) {
      await turn();
      assert.is(machine.advance(time + 1e9), 'media');
      assert.is(machine.now(), time);
    }
    assert.throws(
      () => machine.settle(),
      (error: unknown) => error instanceof MachineError && /settleAsync/.test(error.message),
    );
    const settled = machine.settleAsync();
    await held.drain();
    await settled;
    assert.is(machine.pendingMedia, 0);
    rig.driver.interrupt();
    assert.is(command?.end?.status, 'ok');
    assert.is(Buffer.compare(command?.end?.data as Uint8Array, pattern(BYTES, 1).subarray(1536, 2560)), 0);
  });

  test(`${kind}: a reset gives up a read that the host still fetches`, async () => {
    const held = new Held(filled());
    const rig = await Rig.create(kind, { medium: held.medium });
    const [old] = rig.submit([{ op: 'read', lba: 0, sectors: 4 }]);
    await runToWait(rig);
    rig.driver.reset();
    assert.is(old?.end?.status, 'aborted');
    assert.is(rig.machine.pendingMedia, 0);
    await rig.machine.waitMedia();
    // The next read takes the same slot; the answer to the old one must not be taken for its own.
    const [next] = rig.submit([{ op: 'read', lba: 8, sectors: 4 }]);
    await runToWait(rig);
    assert.is(held.waiting.length, 2);
    held.waiting.shift()?.release();
    for (let i = 0; i < 5; i++) await turn();
    assert.is(rig.step(), false, 'still waiting');
    assert.is(next?.end, null);
    await runHeld(rig, held, () => next?.end !== null);
    assert.is(next?.end?.status, 'ok');
    assert.is(Buffer.compare(next?.end?.data as Uint8Array, pattern(BYTES, 1).subarray(4096, 6144)), 0);
    await rig.machine.idleMedia();
    assert.is(held.waiting.length, 0);
    assert.equal(rig.machine.mediaFailures, []);
  });

  test(`${kind}: a reset gives up a write that the host still stores, and what follows waits for it`, async () => {
    const ram = filled();
    const held = new Held(ram);
    const rig = await Rig.create(kind, { medium: held.medium });
    const first = pattern(2048, 2);
    rig.submit([{ op: 'write', lba: 0, sectors: 4, data: first }]);
    await runToWait(rig);
    assert.is(held.waiting[0]?.operation, 'write');
    rig.driver.reset();
    assert.is(rig.machine.pendingMedia, 0);
    // Over half of the first one: were they under way together, the host could store them in any order.
    const second = pattern(1024, 3);
    const commands = rig.submit([
      { op: 'write', lba: 0, sectors: 2, data: second },
      { op: 'read', lba: 8, sectors: 1 },
    ]);
    await runToWait(rig);
    for (let i = 0; i < 5; i++) await turn();
    assert.is(held.waiting.length, 1, 'only the old write is with the medium');
    await runHeld(rig, held, () => commands.every(({ end }) => end !== null));
    assert.equal(
      commands.map(({ end }) => end?.status),
      ['ok', 'ok'],
    );
    await rig.machine.idleMedia();
    const expected = pattern(BYTES, 1);
    expected.set(first, 0);
    expected.set(second, 0);
    assert.is(Buffer.compare(await contentOf(ram), expected), 0);
  });

  test(`${kind}: a given-up request that fails later is noted, and nobody else’s error`, async () => {
    let bad = true;
    const held = new Held(
      altered(filled(), {
        readv(offset, buffers) {
          if (bad) throw new MediumError('old trouble', 'failed');
          return filled().readv(offset, buffers);
        },
      }),
    );
    const rig = await Rig.create(kind, { medium: held.medium });
    rig.submit([{ op: 'read', lba: 0, sectors: 4 }]);
    await runToWait(rig);
    rig.driver.reset();
    const [next] = rig.submit([{ op: 'read', lba: 8, sectors: 1 }]);
    await runToWait(rig);
    held.waiting.shift()?.release();
    for (let i = 0; i < 5; i++) await turn();
    assert.equal(rig.machine.mediaFailures, ['ram: old trouble']);
    bad = false;
    await runHeld(rig, held, () => next?.end !== null);
    assert.is(next?.end?.status, 'ok');
    assert.is(rig.disk.counters.errors, 0);
  });

  test(`${kind}: an aborted command leaves nothing behind`, async () => {
    const held = new Held(filled());
    const rig = await Rig.create(kind, { medium: held.medium });
    const [read, write] = rig.submit([
      { op: 'read', lba: 0, sectors: 4 },
      { op: 'write', lba: 4, sectors: 4, data: pattern(2048, 4) },
    ]);
    await runToWait(rig);
    for (const command of [read, write]) if (command?.end === null) rig.driver.abort(command);
    await runHeld(rig, held, () => read?.end !== null && write?.end !== null);
    await held.drain();
    await rig.machine.idleMedia();
    assert.is(rig.machine.pendingMedia, 0);
    const next = rig.submit([{ op: 'read', lba: 4, sectors: 4 }]);
    await runHeld(rig, held, () => next[0]?.end !== null);
    assert.is(next[0]?.end?.status, 'ok');
  });
}

test('everybody who waits for a medium is woken', async () => {
  const held = new Held(filled());
  const rig = await Rig.create('ahci', { medium: held.medium });
  rig.submit([{ op: 'read', lba: 0, sectors: 1 }]);
  await runToWait(rig);
  const waiting = Promise.all([rig.machine.waitMedia(), rig.machine.waitMedia()]);
  held.release();
  await waiting;
  // It has answered since the machine stopped: nobody waits any more.
  await rig.machine.waitMedia();
});

test('with no medium at work there is nothing to wait for', async () => {
  const rig = await Rig.create('ahci', { bytes: 4096 });
  await rig.machine.waitMedia();
  await rig.machine.idleMedia();
});

test('an interrupt that comes in the moment for which a medium is waited for is not lost', async () => {
  const outcome = async (held: Held | null): Promise<unknown> => {
    const second = held === null ? { bytes: BYTES } : { medium: held.medium };
    const rig = await Rig.create('ahci', { bytes: BYTES }, second);
    const { machine } = rig;
    // Both disks take the same time; the second one's end is due in the very moment of the first one's.
    const commands = rig.submit([
      { op: 'read', disk: 0, sectors: 1 },
      { op: 'read', disk: 1, sectors: 1 },
    ]);
    const seen: unknown[] = [];
    for (let i = 0; i < 8; i++) {
      const why = machine.advance(machine.now() + 1_000_000);
      if (why === 'media') {
        await turn();
        held?.release();
        await machine.waitMedia();
        continue;
      }
      seen.push([why, machine.now()]);
      rig.driver.interrupt();
      seen.push(commands.map(({ end }) => end?.time));
      if (commands.every(({ end }) => end !== null)) break;
    }
    return seen;
  };
  const expected = await outcome(null);
  assert.equal(await outcome(new Held(filled())), expected);
});

test('two disks over one asynchronous medium see each other’s writes in virtual order', async () => {
  const ram = filled();
  const held = new Held(ram);
  const rig = await Rig.create('ahci', { medium: held.medium }, { medium: held.medium, latencyNs: 90_000 });
  // The read is submitted first, asks the medium first, and is due last.
  const data = pattern(1024, 9);
  const [read, write] = rig.submit([
    { op: 'read', disk: 1, lba: 1, sectors: 4 },
    { op: 'write', disk: 0, lba: 2, sectors: 2, data },
  ]);
  await runHeld(rig, held, () => read?.end !== null && write?.end !== null);
  const expected = pattern(BYTES, 1).slice(512, 2560);
  expected.set(data, 512);
  assert.is(Buffer.compare(read?.end?.data as Uint8Array, expected), 0);
});

test('an answer to a request that was given up is void in the module too', async () => {
  // As an embedder that answers whatever happened: the module's own exports, and the handles that it gave.
  const handles: number[] = [];
  const { exports, create } = watchInstances((_disk, request) => void handles.push(request));
  const held = new Held(filled());
  const rig = await create(() => Rig.create('ahci', { medium: held.medium }));
  rig.submit([{ op: 'read', lba: 0, sectors: 4 }]);
  await runToWait(rig);
  rig.driver.reset();
  const [next] = rig.submit([{ op: 'read', lba: 8, sectors: 4 }]);
  await runToWait(rig);
  const [old, current] = handles as [number, number];
  assert.is(handles.length, 2);
  assert.is(old & 0xfff, current & 0xfff, 'the same slot');
  const hardware = exports();
  for (const handle of [old, old ^ 1, 0xffffffff | 0]) {
    hardware.mediaFail(handle, 1, 0);
    hardware.mediaReady(handle);
  }
  assert.is(rig.machine.pendingMedia, 1);
  assert.is(rig.step(), false, 'still waiting');
  await runHeld(rig, held, () => next?.end !== null);
  assert.is(next?.end?.status, 'ok');
  assert.is(rig.disk.counters.errors, 0);
});

/** Lets `started` see every mediaStart() of a module that is instantiated inside `create`. */
function watchInstances(started: (disk: number, request: number) => void): {
  exports(): HardwareExports;
  create<T>(make: () => Promise<T>): Promise<T>;
} {
  const { Instance } = WebAssembly;
  let seen: WebAssembly.Exports | null = null;
  class Watched extends Instance {
    constructor(module: WebAssembly.Module, imports: WebAssembly.Imports = {}) {
      const host = imports.host as unknown as MediaImports;
      const mediaStart: MediaImports['mediaStart'] = (disk, request, ...rest) => {
        started(disk, request);
        return host.mediaStart(disk, request, ...rest);
      };
      super(module, { ...imports, host: { ...host, mediaStart } as unknown as WebAssembly.ModuleImports });
      seen = this.exports;
    }
  }
  return {
    exports: () => seen as unknown as HardwareExports,
    async create(make) {
      WebAssembly.Instance = Watched;
      try {
        return await make();
      } finally {
        WebAssembly.Instance = Instance;
      }
    },
  };
}

test('a read of more than the host has memory for is the guest’s error', () => {
  const failed: unknown[] = [];
  const host = new HostMedia(new RunList(new ArrayBuffer(65536 * 2), null), {
    ready: () => assert.unreachable(),
    fail: (...what) => void failed.push(what),
  });
  host.add(1, new Held(ramMedium(2 ** 42)).medium, 512);
  assert.is(host.imports.mediaStart(1, 77, MEDIA_READ, 0, 0, -1), 0);
  assert.equal(failed, [[77, MEDIA_ERROR, 0]]);
  assert.match(host.failures[0] ?? '', /read of 2199023255040 bytes.*takes 268435456 at once/);
  assert.is(host.imports.mediaTransfer(1, 77, 0, 0, 512, 0, 1), 0);
  assert.is(host.imports.mediaFinish(1, 77), MEDIA_OK);
  assert.is(host.imports.mediaFinish(1, 77), MEDIA_ERROR, 'it is forgotten');
});

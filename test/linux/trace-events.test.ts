import {
  bootLinux,
  GFP_KERNEL,
  IovIter,
  IS_ERR,
  iov_iter_init,
  READ,
  traceToEvents,
} from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { type AnyEvent, EVENTS, type EventName, type Layer } from '../../src/trace/index.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('linux trace events');

/** Reads one sector through an AHA-1542 into a page above 4 GiB; the events from request to unmapping. */
async function eventsOfOneRead(): Promise<AnyEvent[]> {
  const machine = await createMachine({ ram: 'small' });
  const controller = machine.addController({ kind: 'aha1542' });
  controller.attach(machine.addDisk({ bytes: 65536 }), 0);
  const linux = bootLinux(machine, { userPages: { from: 2 ** 32 } });
  const { scheduler, spawnProcess } = linux.kernel;
  const { disks } = scheduler.complete('probe', function* () {
    return linux.scsi_add_host(controller);
  });
  const [disk] = disks;
  if (disk === undefined) throw new Error('no disk');
  const events: AnyEvent[] = [];
  const stopEvents = machine.tracer.listen((event) => void events.push(event));
  const stopBridge = traceToEvents(linux.kernel.trace, machine.tracer);
  const task = spawnProcess('reader', function* (_task, mm) {
    const address = yield* mm.mmap({ length: 4096, prot: 3 });
    const rq = yield* linux.blk_get_request(disk.queue, READ, GFP_KERNEL);
    if (IS_ERR(rq)) throw new Error(`no request: ${rq}`);
    linux.blk_rq_set_block_pc(rq);
    rq.cmd.set([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    rq.cmd_len = 10;
    const iter = new IovIter();
    iov_iter_init(iter, READ, [{ iov_base: address, iov_len: 512 }], 1, 512);
    yield* linux.blk_rq_map_user_iov(disk.queue, rq, null, iter, GFP_KERNEL);
    const { bio } = rq;
    yield* linux.blk_execute_rq(disk.queue, disk, rq, false);
    rq.bio = null;
    yield* linux.blk_rq_unmap_user(bio);
    linux.blk_put_request(rq);
  });
  scheduler.run({ until: task });
  stopBridge();
  stopEvents();
  return events;
}

test('one read shows in every layer, from the pin to the medium', async () => {
  const layers = new Set((await eventsOfOneRead()).map(({ name }): Layer => EVENTS[name].layer));
  assert.equal([...layers].sort(), ['driver', 'hardware', 'kernel', 'linux', 'media']);
});

test('the events of one read come in the order in which a byte travels', async () => {
  const order: EventName[] = [
    'pin',
    'page_use',
    'dma_map',
    'command',
    'media',
    'complete',
    'irq',
    'driver_done',
    'dma_unmap',
    'copy',
  ];
  const names = (await eventsOfOneRead()).map(({ name }) => name);
  const places = order.map((name) => names.indexOf(name));
  assert.ok(
    places.every((place) => place >= 0),
    `${order.filter((_, i) => places[i] === -1)} missing`,
  );
  assert.equal(
    [...places].sort((a, b) => a - b),
    places,
  );
});

test('time never goes back', async () => {
  const times = (await eventsOfOneRead()).map(({ time }) => time);
  assert.equal(
    [...times].sort((a, b) => a - b),
    times,
  );
});

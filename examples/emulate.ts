// A process reads a sector through Linux and an AHA-1542, whose 24 address lines do not reach the process's page.

import { bootLinux, GFP_KERNEL, IovIter, IS_ERR, iov_iter_init, READ, traceToEvents } from 'backplane/linux';
import { createMachine } from 'backplane/machine';
import { formatEvent } from 'backplane/trace';

const machine = await createMachine(); // 64 MiB of RAM at 0, and 64 MiB at 4 GiB
const controller = machine.addController({ kind: 'aha1542' });
const disk = machine.addDisk({ bytes: 1 << 20 });
disk.write(0, new TextEncoder().encode('hello from sector 0'));
controller.attach(disk, 0);

const linux = bootLinux(machine, { userPages: { from: 2 ** 32 } });
const { scheduler, spawnProcess, vm } = linux.kernel;
const host = scheduler.complete('probe', function* () {
  return linux.scsi_add_host(controller);
});
const [sda] = host.disks;
if (sda === undefined) throw new Error('no disk');

machine.tracer.listen(
  (event) => console.log(formatEvent(event)),
  ['pin', 'page_use', 'dma_map', 'copy', 'irq'],
);
traceToEvents(linux.kernel.trace, machine.tracer);

const process = spawnProcess('reader', function* (_task, mm) {
  const address = yield* mm.mmap({ length: 4096, prot: 3 });
  const rq = yield* linux.blk_get_request(sda.queue, READ, GFP_KERNEL);
  if (IS_ERR(rq)) throw new Error(`no request (${rq})`);
  linux.blk_rq_set_block_pc(rq);
  rq.cmd.set([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]); // READ(10): sector 0, one sector
  rq.cmd_len = 10;

  const iter = new IovIter();
  iov_iter_init(iter, READ, [{ iov_base: address, iov_len: 512 }], 1, 512);
  yield* linux.blk_rq_map_user_iov(sda.queue, rq, null, iter, GFP_KERNEL);
  const { bio } = rq; // unmapping wants this one
  const error = yield* linux.blk_execute_rq(sda.queue, sda, rq, false);
  rq.bio = null;
  yield* linux.blk_rq_unmap_user(bio);
  linux.blk_put_request(rq);

  const text = new Uint8Array(19);
  yield* vm.userCopy.fromUser(mm, address, text);
  return `${error}: ${new TextDecoder().decode(text)}`;
});
scheduler.run({ until: process });
console.log(process.exitValue, '- findings:', machine.guard.findings().length);

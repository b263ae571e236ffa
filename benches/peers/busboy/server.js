// node server.js PORT DIR: stores the media of KAZOO's multipart uploads under DIR, decoded from base64.
const busboy = require('busboy');
const fs = require('fs');
const http = require('http');
const path = require('path');
const cluster = require('cluster');

const [port, dir] = process.argv.slice(2);
if (cluster.isPrimary) {
  // As many processes as the other servers have threads.
  for (let n = 0; n < 2; n += 1) cluster.fork();
} else {
  http.createServer((request, response) => {
    const target = path.join(dir, decodeURIComponent(request.url.split('?')[0]));
    const refuse = (error) => { response.statusCode = 500; response.end(String(error)); };
    const parts = [];
    const parser = busboy({ headers: request.headers });
    const take = (stream) => {
      const chunks = [];
      stream.on('data', (chunk) => chunks.push(chunk));
      stream.on('end', () => parts.push(Buffer.concat(chunks)));
    };
    parser.on('file', (name, stream) => take(stream));
    parser.on('field', (name, value) => parts.push(Buffer.from(value)));
    parser.on('error', refuse);
    parser.on('close', async () => {
      try {
        const media = Buffer.from(parts[1].toString('latin1'), 'base64');
        await fs.promises.mkdir(path.dirname(target), { recursive: true });
        await fs.promises.writeFile(target, media);
        await fs.promises.writeFile(`${target}.json`, parts[0]);
        response.statusCode = 201;
        response.end();
      } catch (error) { refuse(error); }
    });
    request.pipe(parser);
  }).listen(Number(port), '127.0.0.1');
}

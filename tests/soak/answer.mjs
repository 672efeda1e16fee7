// What of an answer must be the same each time: text, reasoning, calls, how it ended, token counts. Ids, times and how the text was
// cut into events are not; nor is what was cached.
import http from 'node:http';

/** The values of an SSE stream's data lines; an event's name must be its type. */
function eventsOf(text) {
  const events = [];
  for (const block of text.split('\n\n')) {
    const lines = block.split('\n').filter((line) => line && !line.startsWith(':'));
    if (!lines.length) continue;
    const named = lines.find((line) => line.startsWith('event: '))?.slice(7);
    const data = lines.find((line) => line.startsWith('data: '))?.slice(6);
    if (data === undefined) throw new Error(`no data in: ${block}`);
    const value = data === '[DONE]' ? data : JSON.parse(data);
    if (named && named !== value.type) throw new Error(`event ${named} has the type ${value.type}`);
    events.push(value);
  }
  return events;
}

class Answer {
  text = ''; reasoning = ''; calls = []; end = null; nOut = null;
}

function callAt(answer, index) {
  while (answer.calls.length <= index) answer.calls.push({ name: '', arguments: '' });
  return answer.calls[index];
}

function addChat(answer, part, finish) {
  answer.text += part.content ?? '';
  answer.reasoning += part.reasoning_content ?? '';
  (part.tool_calls ?? []).forEach(({ index, function: f }, i) => {
    const call = callAt(answer, index ?? i);
    call.name += f.name ?? '';
    call.arguments += f.arguments ?? '';
  });
  if (finish) answer.end = finish;
}

function readChat(text, streamed) {
  const answer = new Answer();
  const values = streamed ? eventsOf(text) : [JSON.parse(text)];
  if (streamed && values.pop() !== '[DONE]') throw new Error('the stream has no end');
  for (const value of values) {
    if (value.error) throw new Error(value.error.message);
    for (const choice of value.choices) {
      if ('text' in choice) addChat(answer, { content: choice.text }, choice.finish_reason);
      else addChat(answer, choice.message ?? choice.delta, choice.finish_reason);
    }
    if (value.usage) answer.nOut = value.usage.completion_tokens;
  }
  return answer;
}

const addBlock = {
  text: (answer, block) => { answer.text += block.text; },
  thinking: (answer, block) => { answer.reasoning += block.thinking; },
  tool_use: (answer, block) => { answer.calls.push({ name: block.name, arguments: JSON.stringify(block.input) }); },
};

/** Blocks as Anthropic's client puts them together. */
function readMessages(text, streamed) {
  const answer = new Answer();
  const finish = (block) => {
    if (block.type === 'tool_use' && block.json !== undefined) {
      try { block.input = JSON.parse(block.json || '{}'); } catch { block.input = { INVALID_JSON: block.json }; }
    }
    addBlock[block.type](answer, block);
  };
  if (!streamed) {
    const message = JSON.parse(text);
    message.content.forEach(finish);
    answer.end = message.stop_reason;
    answer.nOut = message.usage.output_tokens;
    return answer;
  }
  const blocks = [];
  const events = eventsOf(text).filter(({ type }) => type !== 'ping');
  if (events[0].type !== 'message_start' || events.at(-1).type !== 'message_stop') throw new Error(`no message: ${text.slice(-300)}`);
  for (const event of events) {
    const block = blocks[event.index];
    if (event.type === 'content_block_start') blocks[event.index] = { ...event.content_block };
    if (event.type === 'content_block_delta') {
      const { text: t, thinking, partial_json: json } = event.delta;
      if (t !== undefined) block.text += t;
      if (thinking !== undefined) block.thinking += thinking;
      if (json !== undefined) block.json = (block.json ?? '') + json;
    }
    if (event.type === 'content_block_stop') finish(block);
    if (event.type === 'message_delta') [answer.end, answer.nOut] = [event.delta.stop_reason, event.usage.output_tokens];
  }
  return answer;
}

function readResponses(text, streamed) {
  const answer = new Answer();
  let response;
  if (streamed) {
    const events = eventsOf(text);
    response = events.at(-1).response;
    if (events[0].type !== 'response.created' || !/^response\.(completed|incomplete)$/.test(events.at(-1).type))
      throw new Error(`no response: ${text.slice(-300)}`);
    const deltas = events.filter(({ type }) => type === 'response.output_text.delta').map(({ delta }) => delta).join('');
    const whole = response.output.flatMap((item) => (item.type === 'message' ? item.content.map((part) => part.text) : [])).join('');
    if (deltas !== whole) throw new Error(`deltas '${deltas}' but text '${whole}'`);
    events.forEach((event, i) => { if (event.sequence_number !== i) throw new Error(`event ${i} has the number ${event.sequence_number}`); });
  } else {
    response = JSON.parse(text);
  }
  for (const item of response.output) {
    if (item.type === 'message') answer.text += item.content.map((part) => part.text).join('');
    if (item.type === 'reasoning') answer.reasoning += (item.content ?? []).map((part) => part.text).join('');
    if (/call$/.test(item.type)) answer.calls.push({ name: item.name, arguments: item.arguments ?? item.input, status: item.status });
  }
  answer.end = `${response.status} ${response.incomplete_details?.reason ?? ''}`;
  answer.nOut = response.usage.output_tokens;
  answer.id = response.id;
  return answer;
}

function readOllama(text) {
  const answer = new Answer();
  const lines = text.trim().split('\n').map((line) => JSON.parse(line));
  for (const line of lines) {
    answer.text += line.message?.content ?? line.response ?? '';
    answer.reasoning += line.message?.thinking ?? line.thinking ?? '';
    for (const { function: f } of line.message?.tool_calls ?? []) answer.calls.push({ name: f.name, arguments: JSON.stringify(f.arguments) });
  }
  if (!lines.at(-1).done) throw new Error(`no end: ${text.slice(-300)}`);
  answer.end = lines.at(-1).done_reason;
  answer.nOut = lines.at(-1).eval_count;
  return answer;
}

const readers = {
  '/v1/chat/completions': readChat, '/v1/completions': readChat, '/v1/messages': readMessages, '/v1/responses': readResponses,
  '/api/chat': readOllama, '/api/generate': readOllama,
};

/** One line of what must be the same. */
export function essence(path, { status, type, text }) {
  const reader = status === 200 && readers[path.split('?')[0]];
  if (!reader) return `${status} ${text}`;
  const { id, ...answer } = reader(text, type.startsWith('text/event-stream'));
  return JSON.stringify(answer);
}

/** Posts; resolves with { status, type, text }, or null when `until(n)`, asked at each piece (n so far), ended it. */
export function post(url, { path, body }, { agent, until = () => false } = {}) {
  return new Promise((resolve, reject) => {
    let gone = false, n = 0;
    const request = http.request(url + path, { method: 'POST', agent, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) } });
    const leave = () => {
      gone = true;
      request.destroy();
      resolve(null);
    };
    request.on('error', (error) => (gone ? undefined : reject(error)));
    request.on('response', (response) => {
      const pieces = [];
      response.on('error', (error) => (gone ? undefined : reject(error)));
      response.on('data', (piece) => {
        pieces.push(piece);
        if (!gone && until(++n)) leave();
      });
      response.on('end', () => resolve({ status: response.statusCode, type: response.headers['content-type'] ?? '', text: Buffer.concat(pieces).toString() }));
    });
    if (until('half')) {
      request.write(body.slice(0, body.length / 2));
      request.on('socket', (socket) => socket.once('connect', leave));
      if (agent) setImmediate(leave);
      return;
    }
    request.end(body);
    if (until(0)) request.on('finish', leave);
  });
}

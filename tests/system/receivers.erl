%% Passes each request to the Erlang example of docs/events.md, as a handler of cowboy does: with the headers as a map, their names
%% in lower case, and the body as it arrived. Prints its port, and the key of each file whose event it accepts.
-module(receivers).
-export([start/1]).

start([Secret]) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {packet, http_bin}, {active, false}, {backlog, 128}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listener),
    io:format("~b~n", [Port]),
    accept(Listener, list_to_binary(Secret)).

accept(Listener, Secret) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Handler = spawn(fun() -> receive start -> serve(Socket, Secret) end end),
    ok = gen_tcp:controlling_process(Socket, Handler),
    Handler ! start,
    accept(Listener, Secret).

serve(Socket, Secret) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, {http_request, 'POST', _Path, _Version}} ->
            Headers = headers(Socket, #{}),
            Body = body(Socket, binary_to_integer(maps:get(<<"content-length">>, Headers))),
            Answer = answer(Secret, Headers, Body),
            ok = gen_tcp:send(Socket, ["HTTP/1.1 ", Answer, "\r\ncontent-length: 0\r\n\r\n"]),
            serve(Socket, Secret);
        {error, closed} ->
            ok
    end.

headers(Socket, Headers) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, {http_header, _, Name, _, Value}} when is_atom(Name) ->
            headers(Socket, Headers#{string:lowercase(atom_to_binary(Name)) => Value});
        {ok, {http_header, _, Name, _, Value}} ->
            headers(Socket, Headers#{string:lowercase(Name) => Value});
        {ok, http_eoh} ->
            Headers
    end.

body(_Socket, 0) ->
    <<>>;
body(Socket, Length) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    {ok, Body} = gen_tcp:recv(Socket, Length),
    ok = inet:setopts(Socket, [{packet, http_bin}]),
    Body.

answer(Secret, Headers, Body) ->
    try webhook:is_authentic(Secret, Headers, Body) of
        true ->
            {match, [Key]} = re:run(Body, <<"\"key\":\"([^\"]*)\"">>, [{capture, all_but_first, binary}]),
            io:format("~s~n", [Key]),
            "204 No Content";
        false ->
            "401 Unauthorized"
    catch
        _:_ ->
            "500 Internal Server Error"
    end.
